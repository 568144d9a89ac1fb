#!/bin/sh
# Take a NIC away from the kernel's driver and hand it to user space through VFIO; and give it back.
#
# The kernel lets user space have a device only if an IOMMU stands between the device and memory. An IOMMU
# cannot tell all devices apart: those that it can only treat alike form an IOMMU group, and a group changes
# hands as a whole. So for every device of the group: say which driver shall have it, take it from the one
# that does, let the kernel look for a driver again. All of it happens below /sys/bus/pci, nothing is
# remembered elsewhere, and a reboot undoes it.
set -u
export LC_ALL=C

root=${SYSFS_ROOT:-} # in the tests, a directory that plays /
sys=$root/sys
pci=$sys/bus/pci

usage() {
    cat <<END
usage: setup-vfio.sh [--user NAME] [--force] ADDRESS...   bind to vfio-pci; needs root
       setup-vfio.sh --restore ADDRESS...                 back to the kernel's own driver; needs root
       setup-vfio.sh --status [ADDRESS...]                which driver has what (default: every NIC)

ADDRESS is a PCI address, 0000:04:00.0 or 04:00.0; 'lspci -D' lists them.
Every device of an IOMMU group goes together with the one that is named.

--user NAME  let this user open the group, so that the driver runs without root
--force      take a NIC that is in use, or a device that is not a NIC

exit status: 0 done, 1 refused or not fully done, 2 wrong usage
END
}

say() { printf '%s\n' "$*"; }
complain() { say "$*" | sed 's/^/setup-vfio: /' >&2; }
refuse() { complain "$1"; exit 1; }
misuse() { complain "$1; --help lists what there is"; exit 2; }

# ---- what sysfs says about a device ----

link_name() { link=$(readlink "$1") && say "${link##*/}"; }
driver_of() { link_name "$pci/devices/$1/driver"; }
group_of() { link_name "$pci/devices/$1/iommu_group"; }
class_of() { cat "$pci/devices/$1/class"; }
interfaces_of() { ls "$pci/devices/$1/net" 2>/dev/null; }
is_bridge() { case $(class_of "$1") in 0x0604*) true ;; *) false ;; esac }
is_idle() { case $(driver_of "$1") in '' | pci-stub | vfio-pci) true ;; *) false ;; esac }
is_nic() { case $(class_of "$1") in 0x02*) true ;; *) false ;; esac }

# All devices that change hands with this one, itself included.
group_members() {
    if [ -d "$pci/devices/$1/iommu_group/devices" ]; then
        ls "$pci/devices/$1/iommu_group/devices"
    else
        say "$1"
    fi
}

# The members of the groups of all addresses, each once. Two ports of one card often share a group.
all_members() {
    for address in $addresses; do group_members "$address"; done | sort -u
}

describe() {
    driver=$(driver_of "$1")
    group=$(group_of "$1")
    line="$1  $(cat "$pci/devices/$1/vendor"):$(cat "$pci/devices/$1/device")  driver ${driver:-none}"
    if [ -n "$group" ]; then
        line="$line  IOMMU group $group"
        node=$root/dev/vfio/$group
        [ ! -e "$node" ] || line="$line  ${node#"$root"} of user $(stat -c %U "$node")"
    else
        line="$line  no IOMMU group"
    fi
    for interface in $(interfaces_of "$1"); do line="$line  interface $interface"; done
    say "$line"
}

# ---- is somebody using it? ----

# An interface and what is stacked on it: a bridge or VLAN with an address may sit on a NIC that has none.
stacked_on() {
    say "$1"
    for upper in "$sys/class/net/$1"/upper_*; do
        [ ! -e "$upper" ] || stacked_on "${upper##*/upper_}"
    done
}

is_up() { [ $(($(cat "$sys/class/net/$1/flags") & 1)) = 1 ]; } # IFF_UP

# Link-local IPv6 addresses do not count: the kernel gives one to every interface that comes up.
addresses_on() {
    ip -o addr show dev "$1" | awk '$3 == "inet" || $3 == "inet6" && $4 !~ /^fe80:/ { print $4 }'
}

# The kernel's two routing tables: IPv4 has the interface first, the destination second and its mask eighth;
# IPv6 has the destination first, its length second and the interface last.
has_default_route() {
    cat "$root/proc/net/route" "$root/proc/net/ipv6_route" 2>/dev/null |
        awk -v name="$1" '$1 == name && $2 == "00000000" && $8 == "00000000" { found = 1 }
                          $NF == name && $1 ~ /^0+$/ && $2 == "00" { found = 1 }
                          END { exit !found }'
}

# Why taking the device would hurt, one reason a line. Silence means that nobody will miss it.
reasons_to_keep() {
    if ! is_nic "$1"; then
        is_idle "$1" || say "it is no NIC (class $(class_of "$1")), and driver $(driver_of "$1") has it"
        return
    fi
    for below in $(interfaces_of "$1"); do
        for interface in $(stacked_on "$below"); do
            on=
            [ "$interface" = "$below" ] || on=" (on top of $below)"
            ! has_default_route "$interface" || say "the default route goes through $interface$on"
            is_up "$interface" || continue
            if ! command -v ip >/dev/null; then
                say "$interface$on is up; what addresses it has, only the missing program ip could tell"
                continue
            fi
            for address in $(addresses_on "$interface"); do
                say "$interface$on is up and has the address $address"
            done
        done
    done
}

# The process that has a group open. The kernel would make us wait for it, possibly forever.
holder_of() {
    for fd in "$root"/proc/[0-9]*/fd/*; do
        # shellcheck disable=SC3013 # -ef is new in POSIX, but dash, bash and busybox all know it
        if [ "$fd" -ef "$root/dev/vfio/$1" ]; then
            process=${fd%/fd/*}
            say "${process##*/}"
            return
        fi
    done
}

# ---- the steps ----

# tee, because it says which write the kernel turned down, and why.
tell_kernel() { printf '%s\n' "$1" | tee "$2" >/dev/null; }

# We stopped half way: say where that is, and the way out.
failed() {
    trap '' INT TERM
    complain "$1"
    complain "this is how things stand:"
    for member in $(all_members); do describe "$member" >&2; done
    complain "$way_out"
    exit 1
}

unbind() {
    tell_kernel "$1" "$pci/devices/$1/driver/unbind" || failed "$1: driver $(driver_of "$1") does not let go"
}

probe() {
    tell_kernel "$1" "$pci/drivers_probe" || failed "$1: the kernel did not look for a driver"
}

load_vfio() {
    if [ ! -d "$pci/drivers/vfio-pci" ]; then
        modprobe vfio-pci
        [ -d "$pci/drivers/vfio-pci" ] || refuse "there is no driver vfio-pci, 'modprobe vfio-pci' did not \
bring it: the kernel needs CONFIG_VFIO_PCI. Nothing was changed."
    fi
    # What programs the IOMMU for VFIO is a module of its own, and not every modprobe knows that vfio wants
    # it. Where it is replaced by iommufd there is nothing to load, which is no error.
    [ -d "$sys/module/vfio_iommu_type1" ] || modprobe vfio_iommu_type1 2>/dev/null
}

# driver_override names one device, where the older new_id would hand over every NIC of that model. It comes
# first: from then on no other driver can catch the device between unbind and probe.
give_to_vfio() {
    before=$(driver_of "$1")
    if [ "$before" = vfio-pci ]; then say "$1: already bound to vfio-pci"; return; fi
    tell_kernel vfio-pci "$pci/devices/$1/driver_override" || failed "$1: the kernel takes no driver_override"
    [ -z "$before" ] || unbind "$1"
    probe "$1"
    [ "$(driver_of "$1")" = vfio-pci ] || failed "$1: vfio-pci did not take it; 'dmesg | tail' may say why"
    say "$1: taken from ${before:-no driver}, bound to vfio-pci"
}

# The same in reverse: without an override, the probe picks the driver that it would have picked at boot.
give_to_kernel() {
    before=$(driver_of "$1")
    if [ "$before" != vfio-pci ] && [ "$(cat "$pci/devices/$1/driver_override")" != vfio-pci ]; then
        ! is_named "$1" || say "$1: vfio-pci does not have it (driver ${before:-none}), nothing to do"
        return
    fi
    tell_kernel '' "$pci/devices/$1/driver_override" || failed "$1: driver_override cannot be cleared"
    [ "$before" != vfio-pci ] || unbind "$1"
    [ -n "$(driver_of "$1")" ] || probe "$1"
    after=$(driver_of "$1")
    if [ -z "$after" ]; then
        complain "$1: free, but the kernel has no driver for it; load one (an 82599's: modprobe ixgbe)"
        orphans=yes
        return
    fi
    say "$1: back with the kernel's driver $after"
}

# Whoever may open the group's device file has its devices; no other right is needed.
open_group() {
    # udev may still be busy setting up the new file, and would undo our chown.
    ! command -v udevadm >/dev/null || udevadm settle
    [ -e "$root/dev/vfio/$1" ] ||
        failed "/dev/vfio/$1 is missing: is /dev a devtmpfs, has the kernel CONFIG_VFIO_GROUP?"
    if [ -n "$user" ]; then
        chown "$user" "$root/dev/vfio/$1" || failed "/dev/vfio/$1 cannot be given to $user"
        say "/dev/vfio/$1: ready, and $user may open it until the group leaves vfio-pci"
    else
        say "/dev/vfio/$1: ready"
    fi
}

tell_memory_limit() {
    # shellcheck disable=SC3045 # POSIX knows no -l, but dash, bash and busybox do
    limit=$(ulimit -l)
    cat <<END
Memory that a NIC may access stays locked in RAM, and a user may lock only so much: 'ulimit -l' says how many
KiB (in this shell $limit; ask again as $user). To raise it to 1 GiB, as root:
    echo '$user - memlock 1048576' > /etc/security/limits.d/vfio-$user.conf
and log in again as $user.
END
}

# ---- what the command line can ask for ----

status() {
    if [ -z "$addresses" ]; then
        for device in "$pci"/devices/*; do
            device=${device##*/}
            if is_nic "$device" || [ "$(driver_of "$device")" = vfio-pci ]; then describe "$device"; fi
        done
        return
    fi
    for member in $(all_members); do describe "$member"; done
}

# VFIO accepts a group in which every device is its own, or has no driver, or is a bridge. What has no driver
# may stay so; but a NIC comes along, for the next 'modprobe' would give it one.
may_stay() { is_bridge "$1" || { ! is_nic "$1" && is_idle "$1"; }; }

is_named() { case " $addresses " in *" $1 "*) true ;; *) false ;; esac }

# The devices to take; what is not among them but in their groups is told on standard error.
choose() {
    for member in $(all_members); do
        if is_named "$member"; then
            say "$member"
        elif may_stay "$member"; then
            complain "$member is in IOMMU group $(group_of "$member") too, and stays as it is"
        else
            complain "$member is in IOMMU group $(group_of "$member") too, and goes along"
            say "$member"
        fi
    done
}

# Whatever can be seen to go wrong is looked for before anything is changed.
bind_groups() {
    for address in $addresses; do
        ! is_bridge "$address" || refuse "$address is a PCI bridge; name the NIC behind it"
        [ -n "$(group_of "$address")" ] || refuse "$address has no IOMMU group: the IOMMU is off. Turn it on \
in the BIOS (VT-d, AMD-Vi) and, with Intel, on the kernel command line: intel_iommu=on (AMD's is on anyway)."
    done
    chosen=$(choose)
    reasons=$(for member in $chosen; do reasons_to_keep "$member" | sed "s/^/$member: /"; done)
    if [ -n "$reasons" ]; then
        complain "$reasons"
        [ $force = yes ] || refuse "that is in use, so nothing was changed; --force takes it all the same"
    fi

    way_out="to go back: $0 --restore$addresses"
    trap 'failed interrupted' INT TERM
    load_vfio
    for member in $chosen; do give_to_vfio "$member"; done
    for group in $(for address in $addresses; do group_of "$address"; done | sort -u); do
        open_group "$group"
    done
    [ -z "$user" ] || tell_memory_limit
}

restore_groups() {
    for address in $addresses; do
        group=$(group_of "$address")
        holder=$([ -z "$group" ] || holder_of "$group")
        [ -z "$holder" ] || refuse "process $holder has /dev/vfio/$group open; end it first (nothing changed)"
    done
    way_out="when that is solved, run the same command again"
    trap 'failed interrupted' INT TERM
    orphans=no
    for member in $(all_members); do give_to_kernel "$member"; done
    [ $orphans = no ] || exit 1
}

# ---- the command line ----

# The address as sysfs writes it, with its domain.
full_address() {
    full=$(say "$1" | tr A-F a-f)
    case $full in ??:*) full=0000:$full ;; esac
    case $full in
    [0-9a-f][0-9a-f][0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f].[0-7]) say "$full" ;;
    *) misuse "'$1': not a PCI address like 0000:04:00.0 or 04:00.0" ;;
    esac
}

action=bind
addresses= # with a space before each
user=
force=no
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage; exit ;;
    --status | --restore)
        [ "$action" = bind ] || misuse "$1: does not go with --$action"
        action=${1#--}
        ;;
    --force) force=yes ;;
    --user)
        user=${2-}
        case $user in '' | -*) misuse "--user: needs the name of a user" ;; esac
        id -u "$user" >/dev/null 2>&1 || misuse "--user $user: there is no such user"
        shift
        ;;
    -*) misuse "$1: no such option" ;;
    *) addresses="$addresses $(full_address "$1")" || exit ;;
    esac
    shift
done

[ "$action" = bind ] || [ "$force$user" = no ] || misuse "--user and --force do not go with --$action"
[ "$action" = status ] || [ -n "$addresses" ] || misuse "no address given"
for address in $addresses; do
    [ -d "$pci/devices/$address" ] || refuse "$address: there is no such PCI device; 'lspci -D' lists them"
done
[ "$action" = status ] || [ "$(id -u)" = 0 ] || refuse "only root may change drivers; run it with sudo"
case $action in
bind) bind_groups ;;
restore) restore_groups ;;
status) status ;;
esac
