#!/bin/bash
# The numbers that stat shows are those of the packets that were sent.
. "$(dirname "$0")/testing.sh"

# counted NAME: what the table at the end of the last program's output says.
counted() { sed -n "s/^ *$1: //p" "$directory/out" | tail -n 1; }
equal() { if [ "$2" = "$3" ]; then ok; else not_ok "$1 is '$2', not '$3'"; fi; }

for mode in stepped threaded; do
    try 0 '^NIC statistics of 0000:05:00.0 after' \
        scripts/sim --mode $mode --wire1 generator:flows=64,rate=1000,size=100 07-apps/stat --seconds 4 --queues 2
    # A packet may come in after the packets have been read and before the bytes are.
    packets=$(counted rx_pkts_nic) bytes=$(counted rx_bytes_nic)
    equal "$mode: bytes, with CRC, are those of whole packets" $((bytes % 104)) 0
    equal "$mode: and of all that were counted" $((packets > 0 && bytes >= packets * 104)) 1
    equal "$mode: is each queue in use" $(($(counted rx_queue_0_packets) > 0 && $(counted rx_queue_1_packets) > 0)) 1
    equal "$mode: queues" "$(grep -c 'rx_queue_._packets' "$directory/out")" 2
    if grep -Eq '^ +[0-9]+\.[0-9] s   rx .* missed 0   damaged 0   link 10000 Mbit/s   queues [1-9][0-9]* [1-9]' "$directory/out"; then ok; else not_ok "$mode: no line for a second"; fi
done

# add_up_to COUNT: so many packets, received or missed, are in the lines that stat has printed.
add_up_to() {
    awk -v count="$1" '
        { for (i = 1; i < NF; i++) if ($i == "missed") sum += $(i + 1) }
        { sub(/.* queues/, ""); for (i = 1; i <= NF; i++) sum += $i }
        END { exit sum < count }' "$directory/stat"
}

# What another program sends it counts to the last packet.
scripts/sim --wire cable,alone=quiet 07-apps/stat --queues 4 >"$directory/stat" 2>"$directory/err" </dev/null &
pid=$!
wait_for 'link 10000' "$directory/stat"
try 0 'only sends' 07-apps/loopsend --count 20000
wait_until add_up_to 20000
kill -TERM $pid
wait $pid || not_ok "stat ended with $?"
cp "$directory/stat" "$directory/out"
equal "packets from another program" $(($(counted rx_pkts_nic) + $(counted rx_missed_errors))) 20000
equal "and their bytes" "$(counted rx_bytes_nic)" $((20000 * 64))
in_queues=0
for queue in 0 1 2 3; do in_queues=$((in_queues + $(counted rx_queue_${queue}_packets))); done
equal "and in the queues, or without room there" $((in_queues + $(counted rx_no_dma_resources) + $(counted rx_missed_errors))) 20000

# On a terminal each table is written over the last one, and so is the list at the end.
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    try 0 $'^\r?\e\\[[0-9]+A\e\\[JNIC statistics of' script -qec '07-apps/stat --seconds 5' /dev/null
    if grep -Eq '^rx_queue_0_packets +[0-9]+ +[0-9]+' "$directory/out"; then ok; else not_ok "no table"; fi
else
    skip "script makes no terminal here: it is in Debian's bsdutils, and needs /dev/pts"
fi

finish
