#!/bin/bash
# The programs as people use them: command lines, messages, exit codes, files, signals, and two programs at once.
set -u
cd "$(dirname "$0")/.." || exit 2
directory=$(mktemp -d) && trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$directory"' EXIT
export SIM82599_MACHINE=apps-$$
passed=0 failed=0

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
    timeout 60 "$@" >"$directory/out" 2>"$directory/err" </dev/null
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

# ---- Milestones and applications run, in both modes ---------------------------------------------------------------

for mode in stepped threaded; do
    sim="scripts/sim --mode $mode"
    try 0 'link +up at 10 Gbit/s' $sim 01-vfio/probe
    try 0 '0000:05:00.0, in IOMMU group' $sim 01-vfio/probe 04:00.0 05:00.0
    try 0 'File exists' $sim 02-dma/dmamap
    try 0 'cycles a buffer' $sim 03-mempool/pool
    try 0 'packets sent, [0-9]+ received, in order' $sim 04-rings/rings
    try 0 'received 5 of 5' $sim 05-ixgbe/poll
    try 0 '2000 sent, 2000 received' $sim 06-interrupts/wait
    try 0 '20000 received, 0 lost, 0 reordered, 0 corrupt; the card counted 20000 received, 0 missed' \
        $sim 07-apps/loopsend --count 20000
    try 0 '3000 received, 0 lost, 0 reordered, 0 corrupt' $sim 07-apps/loopsend --count 3000 --size 1518 --batch 7
    try 0 '500 received, 0 lost' $sim 07-apps/loopsend --count 500 --interrupts 04:00.0 05:00.0
    try 0 '^500 packets' $sim 07-apps/pcap --count 500 "$directory/$mode.pcap"
    expect_packets 500 "$directory/$mode.pcap"
    try 0 '^100 packets' $sim 07-apps/pcap --count 100 --interrupts --snaplen 40 "$directory/$mode.pcap" 04:00.0
    expect_packets 100 "$directory/$mode.pcap"
done
try 0 'running on the software NIC' 07-apps/loopsend --count 100
try 0 'running on the software NIC' 07-apps/pcap --seconds 1 "$directory/one.pcap"
expect_packets any "$directory/one.pcap"

# ---- What makes no sense is refused by name -----------------------------------------------------------------------

try 2 "unrecognized option '--fast'" 07-apps/loopsend --fast
try 2 "--size: '63' is not a whole number from 64 to 1518" 07-apps/loopsend --size 63
try 2 "--size: '1519'" 07-apps/loopsend --size 1519
try 2 "--batch: '0'" 07-apps/loopsend --batch 0
try 2 "--count: '12x'" 07-apps/loopsend --count 12x
try 2 "--seconds: '-1'" 07-apps/loopsend --seconds -1
try 2 "--seconds: ''" 07-apps/loopsend --seconds ''
try 2 "'eth0' is not a PCI address" 07-apps/loopsend eth0
try 2 "'05:00.9' is not a PCI address" 07-apps/loopsend 04:00.0 05:00.9
try 2 "'06:00.0' is one address too many" 07-apps/loopsend 04:00.0 05:00.0 06:00.0
try 2 'same port' 07-apps/loopsend 04:00.0 0000:04:00.0
try 2 'no FILE' 07-apps/pcap
try 2 "--snaplen: '0'" 07-apps/pcap --snaplen 0 x
try 2 "--snaplen: '65536'" 07-apps/pcap --snaplen 65536 x
try 2 "unrecognized option '--bogus'" 07-apps/pcap --bogus x
try 2 "'extra' is one argument too many" 07-apps/pcap x 04:00.0 extra
for program in 01-vfio/probe 02-dma/dmamap 03-mempool/pool 04-rings/rings 05-ixgbe/poll 06-interrupts/wait \
    07-apps/loopsend 07-apps/pcap; do
    try 0 '^usage: ' $program --help
    try 2 'not a PCI address' $program nonsense:00.0 $([[ $program =~ poll|wait ]] && echo 05:00.0) $([[ $program =~ pcap ]] && echo nonsense)
done

# ---- Things that are not as they should be ------------------------------------------------------------------------

try 1 'no such PCI device' scripts/sim 07-apps/loopsend 07:00.0
try 1 'cannot open /dev/vfio/vfio' 01-vfio/probe 07:00.0
try 1 'cannot create /nonexistent/x.pcap' scripts/sim 07-apps/pcap /nonexistent/x.pcap
try 1 'No space left' scripts/sim 07-apps/pcap --count 10 /dev/full
try 1 'has no link; is the cable plugged in' scripts/sim --mode stepped --wire unplugged 05-ixgbe/poll
try 1 'the end of the reset did not happen' scripts/sim --fault reset-stuck 05-ixgbe/poll
try 1 'reading of the EEPROM did not happen' scripts/sim --fault eeprom-stuck 05-ixgbe/poll
try 1 'initialization of the DMA engine did not happen' scripts/sim --fault dma-stuck 05-ixgbe/poll
try 1 'enabling of an RX queue did not happen' scripts/sim --mode stepped --fault queue-stuck 05-ixgbe/poll
try 1 'reads as all ones; the card does not answer' scripts/sim --fault unplugged 05-ixgbe/poll
try 1 'every register reads as all ones' scripts/sim --mode stepped --fault unplugged@2000 07-apps/loopsend --seconds 5

# ---- Ctrl-C, and what the NIC sees of it --------------------------------------------------------------------------

# interrupted SIGNAL COMMAND...: signalled after a while, the program must end by itself with code 0, and the trace must
# show every queue disabled before the first piece of memory is unmapped, and nothing moved after that.
interrupted() {
    local signal=$1 pid status
    shift
    rm -f "$directory/trace"
    scripts/sim --mode stepped --trace="$directory/trace" "$@" >"$directory/out" 2>"$directory/err" </dev/null &
    pid=$!
    sleep 1
    kill -"$signal" $pid
    wait $pid
    status=$?
    if [ $status -ne 0 ]; then
        not_ok "'$*' ended with $status after SIG$signal"
    elif ! awk '/ queue [0-9]+ enabled: / { open[$2]++; port_of[$NF] = $2 }
                / queue [0-9]+ disabled/ { open[$2]-- }
                / UNMAP / && $5 in port_of { unmapped++; if (open[port_of[$5]]) bad = 1 }
                / fault/ { bad = 1 }
                END { exit bad || !unmapped }' "$directory/trace"; then
        grep -E 'abled|UNMAP|fault' "$directory/trace" >"$directory/out"
        not_ok "'$*' unmapped memory while a queue was enabled, after SIG$signal"
    else
        ok
    fi
}
interrupted INT 07-apps/loopsend
interrupted TERM 07-apps/loopsend --interrupts
interrupted INT 07-apps/pcap "$directory/int.pcap"
expect_packets any "$directory/int.pcap"
interrupted TERM 07-apps/pcap --interrupts "$directory/term.pcap"
expect_packets any "$directory/term.pcap"

# Killed the hard way, the file still ends with a whole packet.
for delay in 0.3 0.4 0.5 0.6; do
    scripts/sim --wire generator:size=300 07-apps/pcap "$directory/killed.pcap" >"$directory/out" 2>"$directory/err" &
    pid=$!
    sleep $delay
    kill -9 $pid
    wait $pid 2>/dev/null
    sleep 0.3  # its writer finishes
    expect_packets any "$directory/killed.pcap"
done

# ---- Two programs -------------------------------------------------------------------------------------------------

scripts/sim --wire cable,alone=quiet 07-apps/pcap --count 100000 --seconds 40 "$directory/two.pcap" >"$directory/out" 2>"$directory/err" &
pid=$!
for _ in $(seq 100); do grep -q capturing "$directory/err" && break; sleep 0.05; done
sleep 0.3
try 0 'only sends' 07-apps/loopsend --count 100000
wait $pid || not_ok "pcap beside loopsend ended with $?"
expect_packets 100000 "$directory/two.pcap"
# Every packet is the reference with its own number: 24 bytes of file header, then 16 + 60 each; the number is at 16 + 42.
if od -An -v -tx1 -w76 -j24 "$directory/two.pcap" | awk '
    { line = $0; gsub(/ /, "", line)
      constant = substr(line, 33, 84) substr(line, 33 + 116)
      if (NR == 1) first = constant
      if (constant != first) bad = NR
      number = 0
      for (i = 7; i >= 0; i--) number = number * 256 + hex(substr(line, 117 + 2 * i, 2))
      if (number != NR - 1) bad = NR }
    function hex(text) { return (index("0123456789abcdef", substr(text, 1, 1)) - 1) * 16 + index("0123456789abcdef", substr(text, 2, 1)) - 1 }
    END { exit bad || NR != 100000 }'; then ok; else not_ok "what pcap received is not byte for byte what loopsend sent"; fi

scripts/sim 07-apps/loopsend --seconds 3 04:00.0 >/dev/null 2>&1 &
pid=$!
sleep 1
try 1 'in use by another program' scripts/sim 07-apps/loopsend --count 10 04:00.0
wait $pid

# ---- What is built ------------------------------------------------------------------------------------------------

for program in 01-vfio/probe 07-apps/loopsend 07-apps/pcap build/libsim82599.so; do
    if ldd $program | grep -vE 'linux-vdso|ld-linux|ld-musl|libc\.|libpthread|libdl' >"$directory/out"; then not_ok "$program needs more than libc"; else ok; fi
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
