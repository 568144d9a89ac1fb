# Linux's own 82599 driver finds two NICs that it can believe in, and its self tests find no fault in them.

check "both ports have an interface" name_interfaces || return
# Both first: a port that is down has its laser off, and then the other sees no light.
ip link set port0 up
ip link set port1 up
for port in port0 port1; do
    eval "address=\$$port"
    expect "$port is driven by" "$(driver_of "$address")" ixgbe
    check "$port has link" link_up $port
    expect "$port's speed in Mbit/s" "$(cat /sys/class/net/$port/speed)" 10000
    check "$port: the kernel says so too" sh -c "dmesg | grep '$address.* NIC Link is Up 10 Gbps'"
done
show ip -br link

field() { # FILE NAME: what stands after "NAME :"
    sed -n "s/^[[:space:]]*$2[[:space:]]*: *//p" "$1" | head -n 1
}

for port in port0 port1; do
    eval "address=\$$port"
    [ $port = port1 ] || show ethtool -i $port
    ethtool -i $port >/tmp/info
    expect "$port: ethtool -i, the bus address" "$(field /tmp/info bus-info)" "$address"

    check "$port: ethtool -m reads the SFP+ module" sh -c "ethtool -m $port >/tmp/module"
    [ $port = port1 ] || show head -n 20 /tmp/module
    expect "$port: the module's type" "$(field /tmp/module Identifier)" '0x03 (SFP)'
    check "$port: the module names its vendor" grep -E 'Vendor name +: [^ ]' /tmp/module
    check "$port: the module is for 10 gigabit" grep -E 'Transceiver type +: 10G' /tmp/module

    check "$port: ethtool -S" sh -c "ethtool -S $port >/tmp/statistics"
    check "$port: statistics count per queue" grep 'rx_queue_0_packets: ' /tmp/statistics

    check "$port: ethtool -d" sh -c "ethtool -d $port >/tmp/registers"
    check "$port: the registers say link up at 10 Gbit/s" grep -E 'Link Speed: +10G' /tmp/registers
done
[ ! -s /tmp/registers ] || show head -n 40 /tmp/registers

for port in port0 port1; do
    for kind in online offline; do
        check "$port: ethtool -t $kind" timeout 60 ethtool -t $port $kind
    done
done
indent <"$output" # of the last one

# The offline test takes the NIC through a reset, and its neighbour's link with it.
for port in port0 port1; do check "$port has link again" link_up $port; done
ip link set port0 down
ip link set port1 down
