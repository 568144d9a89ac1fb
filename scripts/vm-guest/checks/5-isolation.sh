# A driver that goes wrong or goes away harms nobody: the IOMMU stops what was never mapped, and the kernel
# silences the NIC of a driver that was killed.

ours=04:00.0
check "setup-vfio.sh takes $ours from ixgbe" setup-vfio.sh $ours || return
ip link set port1 promisc on up

received() { cat /sys/class/net/port1/statistics/rx_packets; }
has_received() { [ "$(received)" -gt "$1" ]; }

# Linux may still be taking what arrived before. A NIC that goes on sending never comes to rest.
settled() {
    local before=$(received)
    sleep 1
    [ "$(received)" = "$before" ]
}

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
    check "  and sends nothing more" within 20 settled
done
check "the next start works" timeout 60 loopsend --count 1000 $ours

# A NIC that is given an address which nobody mapped. That the IOMMU reported it, scripts/vm looks up outside.
ip link set port1 promisc off down
both="$ours 05:00.0"
check "setup-vfio.sh takes 05:00.0 too" setup-vfio.sh $both || return
echo "     \$ stray $both"
check "stray moves no byte, and the driver says what happened" timeout 60 stray $both
cp "$output" /tmp/stray.out
indent </tmp/stray.out
check "  received into nowhere: nothing written" grep 'of them were written: none' /tmp/stray.out
check "  sent from nowhere: nothing sent" grep 'counted 0 packets sent, and nothing arrived' /tmp/stray.out
check "  the driver names the IOMMU" grep '^error: 0000:04:00.0: the IOMMU refused a read' /tmp/stray.out
check "and the NICs work again" timeout 60 loopsend --count 1000 $both

check "setup-vfio.sh gives both back" setup-vfio.sh --restore $both
check "they are interfaces again" name_interfaces
