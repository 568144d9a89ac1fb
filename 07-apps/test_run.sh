#!/bin/bash
# Every milestone and application runs, in both modes, and breaks no rule of the datasheet.
. "$(dirname "$0")/testing.sh"

for mode in stepped threaded; do
    sim="scripts/sim --mode $mode"
    try 0 'link +up at 10 Gbit/s' $sim 01-vfio/probe
    try 0 '0000:05:00.0, in IOMMU group' $sim 01-vfio/probe 04:00.0 05:00.0
    try 0 'File exists' $sim 02-dma/dmamap
    try 0 'cycles a buffer' $sim 03-mempool/pool
    try 0 'packets sent, [0-9]+ received, in order' $sim 04-rings/rings
    try 0 'received 5 of 5' $sim 05-ixgbe/poll
    try 0 'VLAN 42, IP length 1240, identification 2, TCP sequence number 2800, PSH' $sim 05-ixgbe/segment
    try 0 'sent by the card: 3 packets, 4186 bytes' $sim 05-ixgbe/segment 05:00.0
    try 0 '2000 sent, 2000 received' $sim 06-interrupts/wait
    try 0 '20000 received, 0 lost, 0 reordered, 0 corrupt; the card counted 20000 received, 0 missed' \
        $sim 07-apps/loopsend --count 20000
    try 0 '3000 received, 0 lost, 0 reordered, 0 corrupt' $sim 07-apps/loopsend --count 3000 --size 1518 --batch 7
    try 0 '500 received, 0 lost' $sim 07-apps/loopsend --count 500 --interrupts 04:00.0 05:00.0
    try 0 '^200 packets' $sim 07-apps/pcap --count 200 "$directory/$mode.pcap"
    expect_packets 200 "$directory/$mode.pcap"
    try 0 '^100 packets' $sim 07-apps/pcap --count 100 --interrupts --snaplen 40 "$directory/$mode.pcap" 04:00.0
    expect_packets 100 "$directory/$mode.pcap"
    try 0 '^8 questions answered: ARP 2, ping 2' $sim 07-apps/echo --count 8
done

# What the NIC itself says at the end.
try 0 '^sim82599: 0000:04:00.0: in 0 packets, 0 bytes; out 2000 packets, 128000 bytes; missed 0, dropped 0, DMA faults 0' \
    scripts/sim --report 07-apps/loopsend --count 2000
if grep -q '^sim82599: 0000:05:00.0: in 2000 packets, 128000 bytes; out 0 ' "$directory/err"; then ok; else not_ok "no report of what came in"; fi
try 0 'in [1-9][0-9]{2,} packets' scripts/sim --report 07-apps/pcap --count 100 "$directory/report.pcap"
if [ "$(grep -c '^sim82599: 0000:' "$directory/err")" = 1 ]; then ok; else not_ok "pcap drives one port, in one of its two processes"; fi
try 0 '0000:04:00.0: in [1-9].* dropped [1-9]' scripts/sim --report --mode stepped --wire generator --fault0 no-rx-descriptors 07-apps/fwd --queues 4 --seconds 1
try 1 '0000:05:00.0: .* DMA faults [1-9]' scripts/sim --report --mode stepped --fault1 iommu 07-apps/pcap --interrupts "$directory/report.pcap"

# A driver that reads counters which lie among the tails lets each doorbell be seen; unless asked otherwise. stat does,
# since it drops what it has no room for, and fwd does not.
doorbells() { awk '/ W [RT]DT/ { n++ } / W \.\.\. [RT]DT/ { n += $(NF - 1) } END { print n + 0 }' "$directory/trace"; }
received() { awk '/rx_queue_._packets/ { n += $2 } END { print n + 0 }' "$directory/out"; }
traced="scripts/sim --trace=$directory/trace --wire generator:flows=64,rate=20000"
for seconds in 1 4 16; do  # for enough packets, on a busy machine
    try 0 'rx_queue_3_packets' $traced 07-apps/stat --seconds $seconds
    if [ "$(received)" -ge 10000 ]; then break; fi
done
# A queue rings when a quarter of its ring is free, 256 descriptors, and up to a batch of 64 more; what comes last waits.
least=$(($(received) / 320 - 4))
if [ $least -gt 20 ] && [ "$(doorbells)" -ge $least ]; then ok; else not_ok "$(doorbells) doorbells were seen for $(received) packets"; fi
try 0 'rx_queue_3_packets' $traced --plain-doorbells 07-apps/stat --seconds 1
if [ "$(doorbells)" -lt 20 ]; then ok; else not_ok "$(doorbells) doorbells were still seen"; fi
try 0 'busy cycles each' $traced 07-apps/fwd --queues 4 --count 2000
if [ "$(doorbells)" -lt 20 ]; then ok; else not_ok "$(doorbells) doorbells of fwd were seen"; fi

try 0 'running on the software NIC' 07-apps/loopsend --count 100
try 0 'running on the software NIC' 07-apps/pcap --seconds 1 "$directory/one.pcap"
expect_packets any "$directory/one.pcap"

finish
