#!/bin/bash
# Two programs at once: they meet on the cable, and fight over a port.
. "$(dirname "$0")/testing.sh"

scripts/sim --wire cable,alone=quiet 07-apps/pcap --count 100000 --seconds 40 "$directory/two.pcap" >"$directory/out" 2>"$directory/err" &
pid=$!
wait_for capturing "$directory/err"
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

scripts/sim 07-apps/loopsend 04:00.0 >"$directory/first" 2>&1 &
pid=$!
wait_for sends "$directory/first"
echo old >"$directory/old.pcap"
try 1 'in use by another program' scripts/sim 07-apps/pcap --count 1 "$directory/old.pcap" 04:00.0
if [ "$(cat "$directory/old.pcap")" = old ]; then ok; else not_ok "a pcap that could not begin has changed its file"; fi
try 1 'in use by another program' scripts/sim 07-apps/loopsend --count 10 04:00.0
kill -INT $pid
wait $pid

finish
