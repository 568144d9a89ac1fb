#!/bin/sh
# Set memory aside in huge pages: pieces of 2 MiB where ordinary pages have 4 KiB.
#
# The driver works without them: VFIO pins whatever memory it maps, so ordinary pages stay where the NIC
# expects them too. But a huge page is one entry in the IOMMU's tables, and in the CPU's, where the same
# memory in ordinary pages takes 512. Both keep only so many entries in their caches: with huge pages a whole
# packet pool fits.
#
# Nothing is mounted here. A hugetlbfs mount is for programs that share huge pages as files; the driver asks
# for its own with mmap(MAP_HUGETLB), which needs only that there are free ones.
set -u
export LC_ALL=C

root=${SYSFS_ROOT:-} # in the tests, a directory that plays /
pool=$root/sys/kernel/mm/hugepages/hugepages-2048kB
default_pages=64

usage() {
    cat <<END
usage: setup-hugepages.sh [N]       set N huge pages of 2 MiB aside (default $default_pages); needs root
       setup-hugepages.sh --status  say how many there are
       setup-hugepages.sh --restore give them all back (0 pages); needs root

The setting is gone after a reboot. exit status: 0 done, 1 refused or not fully done, 2 wrong usage
END
}

say() { printf '%s\n' "$*"; }
complain() { printf 'setup-hugepages: %s\n' "$*" >&2; }
refuse() { complain "$1"; exit 1; }
misuse() { complain "$1; --help lists what there is"; exit 2; }

pages() { cat "$pool/nr_hugepages"; }

status() {
    all=$(pages)
    say "2 MiB huge pages: $all, of which $(cat "$pool/free_hugepages") free ($((all * 2)) MiB set aside)"
}

# tee, because it says which write the kernel turned down, and why.
tell_kernel() { printf '%s\n' "$1" | tee "$2" >/dev/null; }

set_pages() {
    [ "$(id -u)" = 0 ] || refuse "only root may change the number of huge pages; run it with sudo"
    before=$(pages)
    tell_kernel "$1" "$pool/nr_hugepages" || refuse "the kernel turned $1 pages down; there are $(pages)"
    if [ "$(pages)" -lt "$1" ]; then
        # A huge page needs 2 MiB free in one piece. Compaction makes such pieces: it moves ordinary pages
        # together.
        tell_kernel 1 "$root/proc/sys/vm/compact_memory" 2>/dev/null
        tell_kernel "$1" "$pool/nr_hugepages"
    fi
    now=$(pages)
    say "2 MiB huge pages: $before before, $now now ($((now * 2)) MiB set aside)"

    [ "$now" -ge "$1" ] || refuse "asked for $1 pages, the kernel gave $now: too little memory is free in \
pieces of 2 MiB. End some programs and try again, or ask at boot (hugepages=$1 on the kernel command line). \
--restore gives all pages back."
    [ "$now" -le "$1" ] || refuse "asked for $1 pages, $now are left: a running program uses them, and the \
kernel takes them back when it ends."
}

action=
for argument in "$@"; do
    [ -z "$action" ] || misuse "$argument: one argument is enough after $action"
    case $argument in
    --help | -h | --status | --restore) action=$argument ;;
    -*) misuse "$argument: no such option" ;;
    '' | *[!0-9]*) misuse "'$argument': not a number of pages" ;;
    ????????*) misuse "$argument: too many pages" ;; # shell arithmetic would overflow sooner or later
    *) action=$argument ;;
    esac
done

case $action in --help | -h) usage; exit ;; esac
[ -r "$pool/nr_hugepages" ] || refuse "this kernel has no 2 MiB huge pages (${pool#"$root"} is missing); \
the driver works with ordinary pages too, only slower"
case ${action:-$default_pages} in
--status) status ;;
--restore) set_pages 0 ;;
*) set_pages "${action:-$default_pages}" ;;
esac
