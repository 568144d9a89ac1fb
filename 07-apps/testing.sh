# testing.sh: what the test_*.sh of this directory share. They look at programs as people do: what they print, how they
# end, what they leave behind.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2
export SIM82599_MACHINE=apps-$$
directory=$(mktemp -d) || exit 2
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$directory" "/dev/shm/sim82599-$(id -u)-apps-$$"' EXIT
passed=0 failed=0 skipped=0

# skip WHY: what cannot be tried here. Where everything is to be tried, that is a failure.
skip() {
    if [ "${CI:-}" = true ]; then not_ok "$*"; return; fi
    skipped=$((skipped + 1))
    echo "skip $*"
}
ok() { passed=$((passed + 1)); }
not_ok() {
    failed=$((failed + 1))
    echo "FAIL $*"
    sed 's/^/    /' "$directory/out" "$directory/err" 2>/dev/null
}

# try EXIT_CODE 'TEXT' COMMAND...: the command must end with that code and print that text (an extended regular
# expression) somewhere; and it must never be told off by the software NIC's lint.
try() {
    local code=$1 text=$2
    shift 2
    timeout 200 "$@" >"$directory/out" 2>"$directory/err" </dev/null
    local status=$?
    if [ $status -ne "$code" ]; then
        not_ok "'$*' ended with $status, not with $code"
    elif ! cat "$directory/out" "$directory/err" | grep -Eq -- "$text"; then
        not_ok "'$*' did not print '$text'"
    elif grep -q 'lint' "$directory/err"; then
        not_ok "'$*' broke a rule of the datasheet"
    else
        ok
    fi
}

# wait_until COMMAND...: until the command succeeds; half a minute is enough for anything.
wait_until() {
    local end=$((SECONDS + 30))
    until "$@"; do
        if [ $SECONDS -gt $end ]; then
            not_ok "waited in vain: $*"
            return
        fi
        sleep 0.05
    done
}
# wait_for TEXT FILE...: until one of the files has the text.
wait_for() { wait_until grep -Eqs -- "$@"; }

# packets_in FILE: how many whole packets a pcap file holds; "damaged" if it ends in the middle of one.
packets_in() {
    od -An -v -tu4 -w4 "$1" | awk -v size="$(stat -c %s "$1")" '
        { word[NR - 1] = $1 }
        END {
            if (word[0] != 2712812621) { print "damaged"; exit }
            for (at = 24; at + 16 <= size; packets++) at += 16 + length_at(at + 8)
            print at == size ? packets + 0 : "damaged"
        }
        # Lengths need not be aligned; od gives aligned words.
        function length_at(at,   low, shift) {
            low = int(at / 4); shift = 256 ^ (at % 4)
            return at % 4 ? (int(word[low] / shift) + word[low + 1] * 4294967296 / shift) % 4294967296 : word[low]
        }'
}
expect_packets() {
    local packets
    packets=$(packets_in "$2")
    if [ "$packets" = "$1" ] || { [ "$1" = any ] && [ "$packets" != damaged ]; }; then ok; else not_ok "$2 holds $packets packets, not $1"; fi
}

# frames FILE: each frame of a pcap file on a line, in hexadecimal.
frames() {
    od -An -v -tx1 -w1 -j24 "$1" | awk '
        { at++ }
        at >= 9 && at <= 12 { size += hex($1) * 256 ^ (at - 9) }
        at <= 16 { next }
        { line = line $1 }
        at == 16 + size { print line; line = ""; at = size = 0 }
        function hex(text) { return (index("0123456789abcdef", substr(text, 1, 1)) - 1) * 16 + index("0123456789abcdef", substr(text, 2)) - 1 }'
}

finish() {
    if [ $skipped -eq 0 ]; then echo "$passed passed, $failed failed"; else echo "$passed passed, $failed failed, $skipped skipped"; fi
    [ $failed -eq 0 ]
}
