#!/bin/bash
# Questions come from a capture file, and the answers go into one: byte for byte what the protocols say; and what is no
# question has none.
. "$(dirname "$0")/testing.sh"

we=90e2ba825900 asker=020000000001
we_4=c0000264 asker_4=c0000201
we_6=20010db8000000000000000000000064 asker_6=20010db8000000000000000000000001 group_6=ff0200000000000000000001ff000064
link_local=fe8000000000000092e2bafffe825900 asker_local=fe800000000000000000000000000001
data=000102030405060708090a0b0c0d0e0f10

# A question and its answer, in hexadecimal; with nothing behind the arrow it is to be left alone. The first one is for
# the time in which the card receives already, but no multicast yet.
cat >"$directory/exchanges" <<END
ffffffffffff $asker 88b5 000000 ->
ffffffffffff $asker 0806 0001080006040001 $asker $asker_4 000000000000 $we_4 -> $asker $we 0806 0001080006040002 $we $we_4 $asker $asker_4
ffffffffffff $asker 0806 0001080006040001 $asker $asker_4 000000000000 c0000265 ->
$we $asker 0800 4500002d123440004001a436 $asker_4 $we_4 0800af3600820007 $data -> $asker $we 0800 4500002d123440004001a436 $we_4 $asker_4 0000b73600820007 $data
$we $asker 0800 4500001c123440004001a447 $asker_4 $we_4 0800f77500820008 -> $asker $we 0800 4500001c123440004001a447 $we_4 $asker_4 0000ff7500820008
$we $asker 0800 4500001c123440003301b147 $asker_4 $we_4 0800f77500820008 -> $asker $we 0800 4500001c123440004001a447 $we_4 $asker_4 0000ff7500820008
$we $asker 0800 4500001c123440004001a447 $asker_4 $we_4 0800f77600820008 ->
$we $asker 0800 4500001c123420004001c447 $asker_4 $we_4 0800f77500820008 ->
3333ff000064 $asker 86dd 6000000000203aff $asker_6 $group_6 87001b6300000000 $we_6 0101 $asker -> $asker $we 86dd 6000000000203aff $we_6 $asker_6 8800e74960000000 $we_6 0201 $we
3333ff000064 $asker 86dd 6000000000203afe $asker_6 $group_6 87001b6300000000 $we_6 0101 $asker ->
$we $asker 86dd 6000000000193a40 $asker_local $link_local 8000947800820009 $data -> $asker $we 86dd 6000000000193a40 $link_local $asker_local 8100937800820009 $data
END
answers=6

# column NUMBER: one side of the arrows, a frame a line, with the zeros that the card fills short frames up with.
column() {
    awk -F ' *->' -v column="$1" '{
        frame = $column; gsub(/ /, "", frame)
        if (!frame) next
        while (length(frame) < 120) frame = frame "00"
        print frame
    }' "$directory/exchanges"
}

little_endian() { printf '%02x%02x%02x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }

# Frames in hexadecimal, on standard input, to a capture file on standard output. The first comes two seconds before all
# others.
to_pcap() {
    local frame size seconds=0
    {
        printf 4d3cb2a1020004000000000000000000ffff000001000000
        while read -r frame; do
            size=$(little_endian $((${#frame} / 2)))
            printf %s "$(little_endian $seconds)00000000$size$size$frame"
            seconds=2
        done
        echo
    } | sed 's/../\\x&/g' | while read -r bytes; do printf "$bytes"; done
}

# The other way: a file of ours, whose numbers are in this machine's byte order.
from_pcap() {
    od -An -v -tx1 -w1 -j24 "$1" | awk '
        { at++; byte = index("0123456789abcdef", substr($1, 1, 1)) * 16 + index("0123456789abcdef", substr($1, 2)) - 17 }
        at >= 9 && at <= 12 { size += byte * 256 ^ (at - 9); next }
        at > 16 { frame = frame $1 }
        at > 16 && at - 16 == size { print frame; frame = ""; at = size = 0 }'
}

# printed COUNT 'TEXT': so many lines of what the last program printed have that text.
printed() {
    local lines
    lines=$(grep -Ec -- "$2" "$directory/out")
    if [ "$lines" = "$1" ]; then ok; else not_ok "'$2' was printed $lines times, not $1"; fi
}

column 1 | to_pcap >"$directory/questions.pcap"
column 2 >"$directory/expected"
for mode in stepped threaded; do
    wire=replay:$directory/questions.pcap,record=$directory/answers.pcap
    try 0 "^$answers questions answered: ARP 1, ping 3, neighbour solicitation 1, IPv6 ping 1\$" \
        scripts/sim --mode $mode --wire0 "$wire" 07-apps/echo --count $answers 04:00.0
    printed 1 '^5 frames left alone: for others 1, other protocols 1, fragments 1, wrong checksums 1, malformed 1$'
    printed 1 "^the card counted 11 received, 0 missed, 0 damaged, and $answers sent"
    printed 1 '^192.0.2.1 pings 192.0.2.100: answered$'
    from_pcap "$directory/answers.pcap" >"$directory/answers"
    if diff "$directory/expected" "$directory/answers" >"$directory/out"; then ok; else not_ok "in $mode mode the answers are not those expected (<)"; fi
done

{ column 1 && column 1; } | to_pcap >"$directory/twice.pcap"
wire=replay:$directory/twice.pcap
try 0 'pings 192.0.2.100: answered, in a frame of 59 bytes' \
    scripts/sim --wire0 "$wire" 07-apps/echo --count $((2 * answers)) --verbose 04:00.0
printed 6 '^192.0.2.1 pings'
# With an address of its own it answers for that and no other, but always for the link-local one.
try 0 '^4 questions answered: ARP 2, IPv6 ping 2$' scripts/sim --wire0 "$wire" 07-apps/echo --count 4 --ip 192.0.2.101 04:00.0
printed 1 'answers for 192.0.2.101, fe80::92e2:baff:fe82:5900$'
try 0 '^0 questions answered$' scripts/sim --wire0 sink 07-apps/echo --seconds 1 04:00.0
# Without an address it finds itself a network, and somebody there who pings it.
try 0 '192.0.2.1 pings 192.0.2.100: answered' 07-apps/echo --count 4
printed 1 '2001:db8::1 pings 2001:db8::64: answered'

finish
