# An ordinary user who was given the IOMMU groups needs no other right.

both="04:00.0 05:00.0"
check "setup-vfio.sh gives both ports to a user" setup-vfio.sh --user student $both || return
show ls -l /dev/vfio

as_student() { su student -c "$*"; }

expect "that user is" "$(as_student id -un)" student
for command in "probe $both" "dmamap 04:00.0" "pool 04:00.0" "rings 04:00.0" "poll $both" "wait $both" \
    "loopsend --count 20000 $both" "loopsend --count 20000 --interrupts $both"; do
    check "as that user: $command" as_student timeout 60 $command
done

check "setup-vfio.sh gives the ports back" setup-vfio.sh --restore $both
check "they are interfaces again" name_interfaces
