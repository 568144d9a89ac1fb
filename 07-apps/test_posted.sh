#!/bin/bash
# Everything runs where register writes arrive as late as PCI Express allows.
. "$(dirname "$0")/testing.sh"

for mode in stepped threaded; do
    sim="scripts/sim --posted --mode $mode"
    try 0 'link +up at 10 Gbit/s' $sim 01-vfio/probe
    try 0 'received 5 of 5' $sim 05-ixgbe/poll
    try 0 '2000 sent, 2000 received' $sim 06-interrupts/wait
    try 0 '20000 received, 0 lost, 0 reordered, 0 corrupt' $sim 07-apps/loopsend --count 20000
    try 0 '500 received, 0 lost' $sim 07-apps/loopsend --count 500 --interrupts
    try 0 '^100 packets' $sim 07-apps/pcap --count 100 --interrupts "$directory/$mode.pcap"
    expect_packets 100 "$directory/$mode.pcap"
    for test in 05-ixgbe/test_ixgbe 06-interrupts/test_interrupts; do
        if timeout 200 $sim build/$test >"$directory/out" 2>"$directory/err" </dev/null; then ok; else not_ok "$test in mode $mode"; fi
    done
done

finish
