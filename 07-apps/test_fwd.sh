#!/bin/bash
# The forwarder: what goes in at one port comes out at the other, all of it, byte for byte, and every buffer comes home.
. "$(dirname "$0")/testing.sh"

# printed TEXT: the program that was tried last has said this, too.
printed() { if grep -Eq -- "$1" "$directory/out" "$directory/err"; then ok; else not_ok "it did not print '$1'"; fi; }

# same FILE FILE COMMAND: equal frames, after each file's have gone through the command.
same() {
    frames "$1" | $3 >"$directory/in"
    frames "$2" | $3 >"$directory/forwarded"
    if [ -s "$directory/in" ] && cmp -s "$directory/in" "$directory/forwarded"; then ok; else not_ok "$2 is not what went in, $1"; fi
}

# Fewer packets than one ring holds, so that none can be lost however busy this machine is; and to each port's own
# address, so that none comes too early for promiscuous mode.
try 0 '^500 packets' scripts/sim --wire generator:flows=64,size=1514 07-apps/pcap --count 500 "$directory/in0.pcap" 04:00.0
try 0 '^400 packets' scripts/sim --wire generator:flows=64,size=60 07-apps/pcap --count 400 "$directory/in1.pcap" 05:00.0
for mode in stepped threaded; do
    for queues in 1 4 16; do
        buffers=$((queues * 3584))
        try 0 "^$buffers buffers were in the pools at the start, $buffers at the end" \
            scripts/sim --mode $mode --wire0 "replay:$directory/in0.pcap,fast,record=$directory/out0.pcap" \
            --wire1 "replay:$directory/in1.pcap,fast,record=$directory/out1.pcap" 07-apps/fwd --count 900 --seconds 30 --queues $queues
        printed '^0000:04:00.0 --> 0000:05:00.0: 500 packets forwarded, 0 dropped'
        printed '^0000:05:00.0 --> 0000:04:00.0: 400 packets forwarded, 0 dropped'
        printed '^0000:04:00.0 counted 500 packets in, 400 out, 0 missed, 0 damaged'
        printed '^0000:05:00.0 counted 400 packets in, 500 out, 0 missed, 0 damaged'
        # Several threads may overtake each other, and so may packets.
        if [ $queues = 1 ]; then order=cat; else order=sort; fi
        same "$directory/in0.pcap" "$directory/out1.pcap" $order
        same "$directory/in1.pcap" "$directory/out0.pcap" $order
    done
done

# Frames that are longer than usual, in several buffers, are forwarded and captured like all others.
{
    printf '\x4d\x3c\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0'
    for length in 100 1515 3000 9000; do
        printf -v little_endian '\\x%02x\\x%02x\\0\\0' $((length % 256)) $((length / 256))
        printf "\\x01\\0\\0\\0\\0\\0\\0\\0$little_endian$little_endian"
        printf '\x90\xe2\xba\x82\x59\x00\x02\0\0\0\0\x01\x88\xb5'
        seq $((100000 + length)) 200000 | head -c $((length - 14))
    done
} >"$directory/long.pcap"
try 0 '^0000:04:00.0 --> 0000:05:00.0: 4 packets forwarded, 0 dropped' scripts/sim --wire0 "replay:$directory/long.pcap,fast" \
    --wire1 "sink,record=$directory/out1.pcap" 07-apps/fwd --count 4 --seconds 30
same "$directory/long.pcap" "$directory/out1.pcap" cat
try 0 '^4 packets' scripts/sim --wire0 "replay:$directory/long.pcap,fast" 07-apps/pcap --count 4 --seconds 30 "$directory/captured.pcap" 04:00.0
same "$directory/long.pcap" "$directory/captured.pcap" cat

try 0 'running on the software NIC' 07-apps/fwd --count 1000 --batch 256
printed '0000:04:00.0 --> 0000:05:00.0: [1-9]'
printed '0000:05:00.0 --> 0000:04:00.0: [1-9]'
printed '[0-9] busy cycles each'
try 0 '[0-9]+\.[0-9] s   --> +[0-9.]+ Mpps +[0-9.]+ Gbit/s   <-- +[0-9.]+ Mpps' scripts/sim --wire generator:rate=1000 07-apps/fwd --seconds 2 05:00.0 04:00.0
# As fast as the generators can.
try 0 '^0000:04:00.0 --> 0000:05:00.0: [0-9]+ packets forwarded, 0 dropped' scripts/sim --mode threaded --wire generator 07-apps/fwd --count 300000
printed '^0000:05:00.0 --> 0000:04:00.0: [0-9]+ packets forwarded, 0 dropped'
# To somebody else's address.
try 0 '^0000:05:00.0 --> 0000:04:00.0: [1-9]' scripts/sim --wire0 sink --wire1 "replay:$directory/in0.pcap,loop" 07-apps/fwd --count 100 --seconds 30
try 0 'nothing came in at either port' scripts/sim --wire sink 07-apps/fwd --seconds 1

# A cable is pulled, a card is pulled: what has not been sent is told, and its buffers are back nevertheless.
for fault in link-down unplugged; do
    try 1 '0000:05:00.0 has sent [0-9]+ of [0-9]+ packets' scripts/sim --mode stepped --wire0 generator --wire1 sink --fault1 $fault@1000 07-apps/fwd --seconds 1
    printed '--> 0000:05:00.0: [0-9]+ packets forwarded, [1-9][0-9]* dropped'
    printed '^3584 buffers were in the pools at the start, 3584 at the end'
done

finish
