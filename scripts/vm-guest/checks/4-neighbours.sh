# Our driver at one end of the cable and Linux's at the other: what one sends, the other receives.

ours=04:00.0 # port0; port1 stays with Linux

check "setup-vfio.sh takes $ours from ixgbe" setup-vfio.sh $ours || return
expect "$port0 is driven by" "$(driver_of $port0)" vfio-pci
expect "$port1 is driven by" "$(driver_of $port1)" ixgbe

# Linux knows the neighbour's address, and so need not ask for it.
ip addr add 10.0.0.2/24 dev port1
ip neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev port1
ip link set port1 promisc on up

received() { cat /sys/class/net/port1/statistics/rx_packets; }
has_received() { [ "$(received)" -ge "$1" ]; }

# ixgbe has left $ours with its laser off, and sets up port1's link when it finds the time; until then frames are lost.
# VFIO resets a NIC for each program that opens it, and that switches the laser on, for good.
probe $ours >/dev/null
check "Linux sees our light" within 20 has_carrier port1

for options in "" "--interrupts" "--size 1500" "--batch 1"; do
    before=$(received)
    check "loopsend $options sends 5000 packets to Linux" timeout 60 loopsend --count 5000 $options $ours
    within 30 has_received $((before + 5000))
    expect "  Linux's rx_packets grew by" $(($(received) - before)) 5000
done

# What Linux sends, with tcpdump watching at its end, is what pcap writes down. The frames are at least 60 bytes
# long, because tcpdump sees shorter ones before the NIC pads them.
sizes="18 64 500 1000 1472"
count=100
frames_of() { tcpdump -Z root -r "$1" -n -t -xx; }

capture() { # OPTION...: pcap and tcpdump side by side; their frames are left in /tmp/pcap.txt and /tmp/tcpdump.txt
    local pcap tcpdump size status
    rm -f /tmp/ours.pcap /tmp/theirs.pcap /tmp/tcpdump.out /tmp/pcap.out
    timeout 60 pcap --count $((count * 5)) "$@" /tmp/ours.pcap $ours >/tmp/pcap.out 2>&1 &
    pcap=$!
    within 30 grep -q capturing /tmp/pcap.out
    sleep 2 # should the reset have cost Linux its light, it has noticed by now
    within 20 has_carrier port1
    tcpdump -Z root -i port1 -Q out --immediate-mode -w /tmp/theirs.pcap 2>/tmp/tcpdump.out &
    tcpdump=$!
    within 10 grep -q 'listening on' /tmp/tcpdump.out
    for size in $sizes; do
        vectors >/tmp/vectors # before the last packets, for then pcap ends
        ping -c $count -i 0.01 -W 1 -s "$size" 10.0.0.1 | grep transmitted
    done
    wait $pcap
    status=$?
    kill -TERM $tcpdump
    wait $tcpdump
    cat /tmp/pcap.out
    frames_of /tmp/ours.pcap >/tmp/pcap.txt
    frames_of /tmp/theirs.pcap >/tmp/tcpdump.txt
    return $status
}

for option in "--snaplen 65535" "--interrupts"; do
    check "pcap $option records while Linux sends" capture $option
    expect "  frames recorded" "$(grep -c '^IP ' /tmp/pcap.txt)" $((count * 5)) &&
        check "  they are the frames that tcpdump saw Linux send, byte for byte" diff /tmp/pcap.txt /tmp/tcpdump.txt
done
check "pcap's interrupts came through the kernel's vectors" fired /tmp/vectors
show tail -n 3 /tmp/pcap.txt
show tail -n 5 /tmp/pcap.out

# Our card cuts a long packet into segments, and puts tag and checksums in. Linux adds the checksums up itself, takes each
# segment for what it is, and answers with a reset, since it knows no such connection.
tcp_count() { # NAME: of one of Linux's own TCP counters
    awk -v name="$1" '$1 == "Tcp:" && !column { for (i = 2; i <= NF; i++) if ($i == name) column = i; next }
        $1 == "Tcp:" { print $column }' /proc/net/snmp
}
tcp_counts() { echo "$(tcp_count InSegs) $(tcp_count OutRsts) $(tcp_count InErrs) $(tcp_count InCsumErrors)"; }
has_reset() { [ "$(tcp_count OutRsts)" -ge "$1" ]; }

ip link set port1 down
ip link set port1 address 02:00:00:00:00:02
ethtool -K port1 rx off gro off
ip link add link port1 name vlan42 type vlan id 42
ip addr add 192.0.2.2/24 dev vlan42
ip link set port1 up
ip link set vlan42 up
within 20 has_carrier port1
read -r segments resets errors wrong <<EOF
$(tcp_counts)
EOF
check "segment sends 4000 bytes of TCP data to Linux in one packet" timeout 60 segment $ours
indent <"$output"
within 30 has_reset $((resets + 3))
expect "  Linux's counts of segments, resets, errors and wrong checksums" "$(tcp_counts)" \
    "$((segments + 3)) $((resets + 3)) $errors $wrong"
ip link del vlan42
ethtool -K port1 rx on gro on

# Linux finds our driver by itself now, by ARP and by neighbour discovery, and pings it. The path is there because the
# shell has an echo of its own.
ip neigh flush dev port1 nud all
ip link set port1 promisc off
echo 0 >/proc/sys/net/ipv6/conf/port1/disable_ipv6
ip addr add fd00::2/64 dev port1 nodad
/root/07-apps/echo --ip 10.0.0.1 --ip fd00::1 $ours >/tmp/echo.out 2>&1 &
check "echo answers for our addresses" within 30 grep -q 'answers for 10.0.0.1, fd00::1, fe80::' /tmp/echo.out
sleep 2 # as for pcap
within 20 has_carrier port1

all_answered() { # ADDRESS SIZE
    ping -c 20 -i 0.05 -W 5 -s "$2" "$1" >/tmp/ping.out
    cat /tmp/ping.out
    grep -q '20 packets transmitted, 20 packets received' /tmp/ping.out
}
for size in 0 56 1452; do
    check "Linux pings our driver with $size bytes" all_answered 10.0.0.1 $size
    check "  and over IPv6" all_answered fd00::1 $size
done
show ip neigh show dev port1
vectors >/tmp/vectors
check "echo's interrupts came through the kernel's vectors" fired /tmp/vectors
kill -TERM $!
check "echo ends well on SIGTERM" wait $!
check "it has answered all it was asked" grep -E 'ARP [0-9]+, ping 60, neighbour solicitation [0-9]+, IPv6 ping 60' /tmp/echo.out
show cat /tmp/echo.out

echo 1 >/proc/sys/net/ipv6/conf/port1/disable_ipv6
ip link set port1 down
ip addr flush dev port1
ip neigh flush dev port1 nud all
check "setup-vfio.sh gives $ours back" setup-vfio.sh --restore $ours
check "it is an interface again" name_interfaces
