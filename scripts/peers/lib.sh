# What the parts of scripts/test-peers share: reporting, waiting, tidying up, and what the readers of packets say.
#
# Every program runs under a deadline, in a machine of our own and with a scratch directory that is removed at the end.

directory=$(mktemp -d) || exit 2
export SIM82599_MACHINE=peers-$$
trap 'clean_up' EXIT
trap 'exit 130' INT TERM

clean_up() {
    local left
    left=$(jobs -p)
    [ -z "$left" ] || kill $left 2>/dev/null  # most are timeouts, which pass it on
    wait 2>/dev/null
    rm -rf "$directory" "/dev/shm/sim82599-$(id -u)-$SIM82599_MACHINE"
}

# ---- Reporting -----------------------------------------------------------------------------------------------------

passed=0 failed=0 skipped=0

ok() { # WHAT
    passed=$((passed + 1))
    echo "ok - $1"
}

fail() { # WHAT WHY
    failed=$((failed + 1))
    echo "FAIL - $1 (${BASH_SOURCE[2]}:${BASH_LINENO[1]})"
    echo "${2:-}" | tail -n 40 | sed 's/^/       /'
}

# check WHAT COMMAND...: the command is to succeed; what it prints is shown if it does not.
check() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then ok "$what"; else fail "$what" "exit status $? of: $*"$'\n'"$output"; fi
}

# equal WHAT VALUE WANTED
equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "is:        $2"$'\n'"should be: $3"; fi
}

# at_least WHAT VALUE LEAST
at_least() {
    if [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -ge "$3" ]; then ok "$1: $2"; else fail "$1" "is: '$2', should be at least $3"; fi
}

# need PROGRAM PACKAGE: false if it is missing, after saying what to do. Where everything is to be tested, that fails.
need() {
    command -v "$1" >/dev/null && return
    if [ "${CI:-}" = true ]; then
        fail "$1 is installed" "missing: apt-get install $2"
    else
        skipped=$((skipped + 1))
        echo "skip - $1 is missing; on Debian: apt-get install $2"
    fi
    return 1
}

# Other programs of this machine's user may be at work; only what bears our machine's name is ours.
nothing_is_left() {
    equal "no process and no shared memory is left behind" "$(jobs -pr) $(ls /dev/shm 2>/dev/null | grep -c -- "-$SIM82599_MACHINE$")" " 0"
}

summary() {
    if [ $skipped -eq 0 ]; then echo "$passed passed, $failed failed"; else echo "$passed passed, $failed failed, $skipped skipped"; fi
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
}

# ---- Waiting -------------------------------------------------------------------------------------------------------

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# size_over FILE BYTES
size_over() { [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -gt "$2" ]; }

# ---- What others say of a capture file -----------------------------------------------------------------------------

# To port 9 goes what is to be discarded, whatever protocol its bytes may remind tshark of.
how=(-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE -d udp.port==9,data)
# 0 is tshark's "bad"; 0x800000 the severity of what cannot be right.
wrong='_ws.malformed or _ws.short or _ws.expert.severity == 0x800000 or tcp.analysis.flags or ip.checksum.status == 0
    or tcp.checksum.status == 0 or udp.checksum.status == 0 or icmp.checksum.status == 0 or icmpv6.checksum.status == 0'

# tshark_read FILE ARGUMENT...: as tshark -r, and its only permitted complaint is that root should not use it.
tshark_read() {
    local file=$1 status
    shift
    timeout 60 tshark -r "$file" "$@" 2>"$directory/complaints"
    status=$?
    ! grep -v '^Running as user' "$directory/complaints" >&2 && [ $status -eq 0 ]
}

# The same for tcpdump, which always says what it reads.
tcpdump_read() {
    local file=$1 status
    shift
    timeout 60 tcpdump -n -r "$file" "$@" 2>"$directory/complaints"
    status=$?
    ! grep -v '^reading from file .*, link-type EN10MB (Ethernet), snapshot length [0-9]*$' "$directory/complaints" >&2 &&
        [ $status -eq 0 ]
}

packets_of_capinfos() { timeout 60 capinfos -c -M "$1" | sed -n 's/^Number of packets: *//p'; }

# reads FILE: all three open it and come to its end without a word of complaint, and agree on how many packets there are.
reads() {
    local by_tcpdump by_tshark by_capinfos
    by_tcpdump=$(tcpdump_read "$1" -t | grep -c . ; exit "${PIPESTATUS[0]}") || return 1
    by_tshark=$(tshark_read "$1" -T fields -e frame.number | grep -c . ; exit "${PIPESTATUS[0]}") || return 1
    by_capinfos=$(packets_of_capinfos "$1") || return 1
    [ "$by_tcpdump" = "$by_tshark" ] && [ "$by_tshark" = "$by_capinfos" ] && return
    echo "packets: $by_tcpdump for tcpdump, $by_tshark for tshark, $by_capinfos for capinfos"
    return 1
}

# nothing_wrong FILE: no malformed packet, no bad checksum, no broken conversation.
nothing_wrong() {
    local found
    found=$(tshark_read "$1" "${how[@]}" -Y "$wrong") || return 1
    [ -z "$found" ] || { echo "$found" | head -n 20; return 1; }
}

# counted FILE FILTER: how many packets tshark finds.
counted() { tshark_read "$1" "${how[@]}" -Y "$2" -T fields -e frame.number | grep -c .; }

# frame_bytes FILE FIRST LAST: these bytes of every frame, in hexadecimal, a line each. For captures of whole frames.
frame_bytes() {
    od -An -v -tx1 -w1 -j24 "$1" | awk -v first="$2" -v last="$3" '
        { at++ }
        at >= 9 && at <= 12 { size += hex($1) * 256 ^ (at - 9); next }
        at <= 16 { next }
        at - 16 >= first && at - 16 <= last { line = line $1 }
        at - 16 == size { print line; line = ""; at = size = 0 }
        function hex(text) { return (index("0123456789abcdef", substr(text, 1, 1)) - 1) * 16 + index("0123456789abcdef", substr(text, 2)) - 1 }'
}
