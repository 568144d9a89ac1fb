#!/bin/sh
# Runs the named checks one after the other, and counts.
#
# A check is a file in checks/ that is read into this shell. It may assume both ports with the kernel's ixgbe,
# named port0 and port1, down, in the first network namespace; and leaves them so.

. /lib.sh

# Nothing is to be on the cable but what a check sends: no greetings of IPv6. (The namespaces have it on.)
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6

dmesg -c >/dev/null
for name in "$@"; do
    echo "== $name ($(cut -d . -f 1 /proc/uptime) s after boot)"
    echo "check $name" >/dev/kmsg
    name_interfaces
    . "/checks/$name.sh"
    check "$name: no complaint in the kernel log" no_kernel_complaints
done
echo "$passed passed, $failed failed"
