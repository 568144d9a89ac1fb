# What the checks share: reporting, waiting, and finding out which kernel interface belongs to which port.

port0=0000:04:00.0
port1=0000:05:00.0

# ---- Reporting ---------------------------------------------------------------------------------------------

passed=0
failed=0
output=${TMPDIR:-/tmp}/output

indent() { sed 's/^/       /'; }

ok() { # WHAT
    passed=$((passed + 1))
    echo "ok   - $1"
}

bad() { # WHAT WHY
    failed=$((failed + 1))
    echo "FAIL - $1"
    echo "$2" | tail -n 30 | indent
}

# check WHAT COMMAND...: the command is to succeed. If it fails, its output is shown, and check fails too.
# The output stays in a file. $(...) would wait for whatever the command leaves running in the background.
check() {
    local what=$1
    shift
    [ ! -e "$output" ] || mv "$output" "$output.before"
    if "$@" >"$output" 2>&1; then
        ok "$what"
    else
        bad "$what" "exit status $? of: $*
$(cat "$output")"
        return 1
    fi
}

# said PATTERN: did the command of the check before print this?
said() { grep -e "$1" "$output.before"; }

# expect WHAT VALUE WANTED: the two are to be the same text.
expect() {
    if [ "$2" = "$3" ]; then
        ok "$1: $2"
    else
        bad "$1" "is:        $2
should be: $3"
        return 1
    fi
}

# show COMMAND...: for the reader of the transcript.
show() {
    echo "     \$ $*"
    "$@" 2>&1 | indent
}

# ---- Waiting -----------------------------------------------------------------------------------------------

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

not() { ! "$@"; }

# ---- Ports and interfaces ----------------------------------------------------------------------------------

driver_of() { # PCI address
    basename "$(readlink "/sys/bus/pci/devices/$1/driver")"
}

has_interface() { # PCI address
    ls "/sys/bus/pci/devices/$1/net" 2>/dev/null | grep -q .
}

# Gives the kernel's interfaces the names that the checks use. The kernel numbers them as they come.
name_interfaces() {
    local port address name
    within 10 has_interface $port0 && within 10 has_interface $port1 || return
    for port in port0 port1; do
        eval "address=\$$port"
        name=$(ls "/sys/bus/pci/devices/$address/net")
        [ "$name" = $port ] || ip link set "$name" name $port || return
    done
}

has_carrier() { # INTERFACE [NAMESPACE]
    ip ${2:+-n "$2"} link show "$1" | grep -q LOWER_UP
}

link_up() { # INTERFACE [NAMESPACE]
    ip ${2:+-n "$2"} link set "$1" up && within 20 has_carrier "$@"
}

# ---- The kernel log ----------------------------------------------------------------------------------------

# What the kernel said at level "warning" or worse since the last call, except about its own emulated clock.
no_kernel_complaints() {
    dmesg -r -c | grep '^<[0-4]>' | grep -v 'hrtimer: interrupt took' >/tmp/complaints
    cat /tmp/complaints
    [ ! -s /tmp/complaints ]
}

# ---- Both ports on Linux: a network namespace each, left and right -----------------------------------------

left() { ip netns exec left "$@"; }
right() { ip netns exec right "$@"; }

both_have_link() { within 20 has_carrier port0 left && within 20 has_carrier port1 right; }

connect() { # the namespaces, with a port and its addresses in each
    ip netns add left && ip netns add right || return
    ip link set port0 netns left && ip link set port1 netns right || return
    ip -n left addr add 10.0.0.1/24 dev port0 && ip -n right addr add 10.0.0.2/24 dev port1 || return
    ip -n left addr add fd00::1/64 dev port0 nodad && ip -n right addr add fd00::2/64 dev port1 nodad || return
    ip -n left link set port0 up && ip -n right link set port1 up || return
    both_have_link
}

disconnect() { # a port goes home when its namespace ends
    ip netns del left && ip netns del right && name_interfaces
}

# ---- Both ports on VFIO ------------------------------------------------------------------------------------

# Lines of /proc/interrupts: the MSI-X vectors that programs have through VFIO, and how often each one fired.
vectors() { grep 'vfio-msix' /proc/interrupts; }

fired() { # FILE of such lines: did any of them?
    awk '{ for (cpu = 2; $cpu ~ /^[0-9]+$/; cpu++) sum += $cpu } END { exit !sum }' "$1"
}
