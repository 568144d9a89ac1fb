#!/usr/bin/env bash
# Does scripts/vm find what it needs, judge a guest rightly, and leave nothing behind? No virtual machine runs
# here: the kernel is an empty file, and the programs are a few lines of shell that play QEMU and the NIC.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export TMPDIR=$work/tmp # where scripts/vm makes its folder
mkdir "$TMPDIR"

# The functions that the guest's checks report with are good enough to report here, and are tested here too.
. scripts/vm-guest/lib.sh

# ---- A machine with everything that is needed ----

export VM_ROOT=$work/root
mkdir -p "$VM_ROOT"/{boot,lib64,usr/bin} "$VM_ROOT/lib/modules/1.0" "$work/programs/01-vfio"
touch "$VM_ROOT/complete" "$VM_ROOT/boot/vmlinuz-1.0" "$work/programs/01-vfio/probe"
(cd "$VM_ROOT/lib/modules/1.0" && touch modules.alias modules.builtin ixgbe.ko && echo "ixgbe.ko:" >modules.dep)

program() { cat >"$1" && chmod +x "$1"; }

for tool in bash ethtool ip tcpdump; do program "$VM_ROOT/usr/bin/$tool" </dev/null; done
program "$VM_ROOT/usr/bin/busybox" <<'END'
#!/bin/sh
cat # "cpio": the list of the guest's files will do
END
program "$VM_ROOT/lib64/ld-linux-x86-64.so.2" <<'END'
#!/bin/bash
shift 2 # --library-path and its value
[ "$1" = --list ] || exec "$@"
END
program "$VM_ROOT/usr/bin/qemu-system-x86_64" <<END
#!/bin/bash
[ "\${*: -2}" = "-device help" ] && echo vfio-user-pci && exit
echo "\$*" >$work/arguments
. $work/guest
END
program "$work/server" <<END
#!/bin/bash
echo "\$*" >$work/server-arguments
echo \$\$ >$work/server-pid
echo ready >&2
exec sleep 1000
END
touch "$work/guest"

guest_says() { printf '%s\n' "echo '$1'; exit ${2-0}" >"$work/guest"; } # TRANSCRIPT [EXIT-STATUS]
# An old QEMU, which scripts/vm is to pass over; and if this machine has a real one, it comes later in PATH.
mkdir "$work/bin"
program "$work/bin/qemu-system-x86_64" <<'END'
#!/bin/sh
echo 'name "e1000e"'
END
vm_command=(env "PATH=$work/bin:$PATH" scripts/vm --programs "$work/programs" --server "$work/server")
vm() { "${vm_command[@]}" "$@"; }
status_of() {
    "$@" >"$work/said" 2>&1
    echo $?
}

nothing_left() {
    ls "$TMPDIR" | grep '^vm\.' && return 1
    not pgrep -f "$TMPDIR/vm\."
}

# ---- The command line ----

vm_help_names() { vm --help | grep -e "$1"; }
check "--help" vm --help
for option in $(grep -oE '^    --[a-z-]+' scripts/vm); do check "  names $option" vm_help_names "$option"; done
check "--list" vm --list
expect "  names every check" "$(vm --list | wc -l)" "$(ls scripts/vm-guest/checks/*.sh | wc -l)"

refuses() { # TEXT ARGUMENT...: what it says
    expect "refuses ${*:2}" "$(status_of vm "${@:2}")" 1
    check "  and says: $1" grep -e "$1" "$work/said"
}
refuses "unknown option --bogus" --bogus
refuses "no check named no-such-check" no-such-check
refuses "--seconds soon: not a number" --seconds soon
refuses "--seconds needs a value" --seconds
refuses "no $work/missing: run make" --server "$work/missing"
refuses "no $work/missing: run make" --programs "$work/missing"
refuses "/bin/false did not start" --server /bin/false --kernel-log "$work/kernel.log"
check "  and nothing else: no guest has said anything yet" not grep kernel.log "$work/said"
refuses "needs a terminal" --shell </dev/null

without() { # FILE TEXT: what it says if this machine lacks a file
    mv "$VM_ROOT/$1" "$work/away"
    expect "refuses without ${1##*/}" "$(status_of vm)" 1
    check "  and says: $2" grep -e "$2" "$work/said"
    mv "$work/away" "$VM_ROOT/$1"
}
without boot/vmlinuz-1.0 "linux-image-amd64"
without lib/modules/1.0/modules.dep "linux-image-amd64"
without usr/bin/tcpdump "no tcpdump for the guest"
without usr/bin/qemu-system-x86_64 "QEMU 10.1 or later"

# ---- The verdict ----

judged() { # WANTED-STATUS TRANSCRIPT [EXIT-STATUS]
    guest_says "${@:2}"
    expect "a guest that says \"$2\" and ends with ${3-0}" "$(status_of vm)" "$1"
    check "  nothing is left" nothing_left
}
judged 0 "3 passed, 0 failed"
judged 1 "2 passed, 1 failed"
judged 1 "0 passed, 0 failed"
judged 1 "10 passed, 10 failed"
judged 1 "Kernel panic"
judged 1 "3 passed, 0 failed" 1

echo 'echo booting; exec sleep 1000' >"$work/guest"
expect "a guest that hangs" "$(status_of vm --seconds 1)" 1
check "  is given up" grep 'gave up after 1 seconds' "$work/said"
check "  nothing is left" nothing_left

rm -f "$work/arguments"
"${vm_command[@]}" >/dev/null 2>&1 &
pid=$!
check "a guest starts" within 20 [ -s "$work/arguments" ]
kill -TERM $pid
wait $pid
expect "  and SIGTERM ends it" $? 130
check "  nothing is left" nothing_left

# Killed the hard way, it cannot clean up; but what it has started ends, too.
printf '%s\n' "echo \$\$ >$work/guest-pid; exec sleep 1000" >"$work/guest"
rm -f "$work/guest-pid" "$work/server-pid"
"${vm_command[@]}" >/dev/null 2>&1 &
pid=$!
check "a guest starts" within 20 [ -s "$work/guest-pid" ]
kill -KILL $pid
wait $pid 2>/dev/null
runs() { grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; } # one that nobody waits for may be left as a zombie
if setpriv --pdeathsig TERM true 2>/dev/null; then
    for who in guest server; do
        check "  and SIGKILL ends its $who" within 20 not runs "$(cat "$work/$who-pid")"
    done
else
    kill "$(cat "$work/guest-pid")" "$(cat "$work/server-pid")"
fi
rm -rf "$TMPDIR"/vm.*

# ---- What the guest is given ----

guest_says "1 passed, 0 failed"
vm 7-back 1-ixgbe >/dev/null 2>&1
check "the named checks go to the guest in order" grep -e '-- checks 7-back 1-ixgbe' "$work/arguments"
check "both NICs are there, each on a socket of the server's" bash -c "
    for socket in \$(grep -oE '/[^ ]*/port[01]' $work/server-arguments); do grep -F \"\$socket\" $work/arguments || exit; done"
check "the IOMMU comes before them" grep -E 'intel-iommu.*vfio-user-pci' "$work/arguments"
for script in scripts/vm-guest/{init,*.sh,checks/*.sh}; do check "$script is well formed" bash -n "$script"; done

check "a file is where the caller is" bash -c "cd $work && PATH=$work/bin:\$PATH $PWD/scripts/vm --programs programs --server server"

# ---- The reporting functions ----

counted() { (passed=0 failed=0; "$@" >/dev/null; echo "$passed $failed"); }
expect "check true counts as passed" "$(counted check x true)" "1 0"
expect "check false counts as failed" "$(counted check x false)" "0 1"
expect "expect a a counts as passed" "$(counted expect x a a)" "1 0"
expect "expect a b counts as failed" "$(counted expect x a b)" "0 1"
check "a failed check shows what the command said" bash -c ". scripts/vm-guest/lib.sh; check x ls /missing | grep 'FAIL - x\|/missing'"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
