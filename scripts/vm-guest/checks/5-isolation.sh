# A driver that goes wrong or goes away harms nobody: the IOMMU stops what was never mapped, and the kernel
# silences the NIC of a driver that was killed.

ours=04:00.0
check "setup-vfio.sh takes $ours from ixgbe" setup-vfio.sh $ours || return
ip link set port1 promisc on up

received() { cat /sys/class/net/port1/statistics/rx_packets; }
has_received() { [ "$(received)" -gt "$1" ]; }

# Bit 2 of the command register: may the device do DMA?
is_bus_master() { [ $(($(od -A n -t u1 -j 4 -N 1 /sys/bus/pci/devices/$port0/config) & 4)) != 0 ]; }

for round in 1 2 3; do
    before=$(received)
    loopsend $ours >/tmp/loopsend.out 2>&1 &
    check "loopsend sends (round $round)" within 20 has_received "$before" || tail -n 20 /tmp/loopsend.out | indent
    check "  and the NIC is a bus master" is_bus_master
    kill -9 $!
    wait $! 2>/dev/null
    check "  killed with -9, it is none" within 5 not is_bus_master
    sleep 0.5
    before=$(received)
    sleep 1
    expect "  and sends nothing more" "$(received)" "$before"
done
check "the next start works" timeout 60 loopsend --count 1000 $ours

ip link set port1 promisc off down
check "setup-vfio.sh gives $ours back" setup-vfio.sh --restore $ours
check "it is an interface again" name_interfaces
