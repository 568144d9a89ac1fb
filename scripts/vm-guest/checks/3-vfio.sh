# Both ports are ours: every program runs on the kernel's VFIO, and the kernel's own event trace says that it
# really went through an IOMMU domain of VFIO's.

tracing=/sys/kernel/tracing
[ -e $tracing/events ] || mount -t tracefs tracefs $tracing
for event in attach_device_to_domain map; do echo 1 >$tracing/events/iommu/$event/enable; done

both="04:00.0 05:00.0"
check "setup-vfio.sh takes both ports from ixgbe" setup-vfio.sh $both || return
show setup-vfio.sh --status
for address in $port0 $port1; do expect "$address is driven by" "$(driver_of $address)" vfio-pci; done

run() { # a program by its name, with its output in the transcript
    echo "     \$ $*"
    check "$1" timeout 60 "$@"
    indent <"$output"
}

echo >$tracing/trace
run probe $both
run dmamap 04:00.0
for address in $port0 $port1; do
    check "the kernel attached $address to a domain" grep "IOMMU:.*$address" $tracing/trace
done
check "the kernel's IOMMU driver mapped our memory" grep 'map: IOMMU: iova=' $tracing/trace
show sh -c "grep -vE '^#' $tracing/trace | sed 's/.*IOMMU: //' | sort -u | head -n 12"
for event in attach_device_to_domain map; do echo 0 >$tracing/events/iommu/$event/enable; done

run pool 04:00.0
run rings 04:00.0
run poll $both
run segment $both
run wait $both
run loopsend --count 20000 $both
run loopsend --count 20000 --interrupts $both
run /root/07-apps/stat --seconds 2 04:00.0

check "setup-hugepages.sh" setup-hugepages.sh 16
run loopsend --count 20000 $both
check "  with huge pages" not said 'no free 2 MiB pages'
check "setup-hugepages.sh --restore" setup-hugepages.sh --restore

# While a program waits for interrupts, the kernel lists its vectors.
have_fired() {
    vectors >/tmp/vectors
    fired /tmp/vectors
}
loopsend --seconds 20 --interrupts $both >/tmp/loopsend.out 2>&1 &
check "interrupts arrive through the kernel's MSI-X vectors" within 15 have_fired
show vectors
kill -TERM $!
check "loopsend ends well on SIGTERM" wait $!
tail -n 5 /tmp/loopsend.out | indent

check "setup-vfio.sh gives the ports back" setup-vfio.sh --restore $both
check "they are interfaces again" name_interfaces
