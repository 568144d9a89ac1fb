# An ordinary user who was given the IOMMU groups needs no other right.

both="04:00.0 05:00.0"
check "setup-vfio.sh gives both ports to a user" setup-vfio.sh --user student $both || return
show ls -l /dev/vfio

as_student() { su student -c "$*"; }

expect "that user is" "$(as_student id -un)" student

# Every program works within the usual limit on locked memory, 8 MiB, but for two ports' packet buffers. What says
# so has to name the way out.
check "as that user: probe $both" as_student probe $both
check "as that user: dmamap" as_student dmamap 04:00.0
check "as that user: pool" as_student pool 04:00.0
check "as that user: rings" as_student rings 04:00.0
check "poll needs more locked memory than $(ulimit -l) KiB" not as_student poll $both
check "  and says how to get it" said memlock
check "  the kernel agrees" sh -c "dmesg -c | grep RLIMIT_MEMLOCK"

# What /etc/security/limits.d would do at the next login.
as_student() { (ulimit -l 1048576 && su student -c "$*"); }
for command in "poll $both" "wait $both" "loopsend --count 20000 $both" "loopsend --count 20000 --interrupts $both"; do
    check "with 1 GiB: $command" as_student timeout 60 $command
done

check "setup-vfio.sh gives the ports back" setup-vfio.sh --restore $both
check "they are interfaces again" name_interfaces
