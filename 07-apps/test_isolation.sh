#!/bin/bash
# What the IOMMU refuses moves no byte, is reported, and does not leave a program hanging.
. "$(dirname "$0")/testing.sh"

refused='0000:0[45]:00.0: the IOMMU refused a read by the card'

# stray breaks the rule on purpose, so here the software NIC has to tell it off.
for mode in stepped threaded; do
    timeout 200 scripts/sim --mode $mode 05-ixgbe/stray >"$directory/out" 2>"$directory/err" </dev/null
    status=$?
    for text in 'receiving: packet [0-9]+ came .*, 60 bytes; of them were written: none' 'the card has noticed nothing' \
        'sending: +the card counted 0 packets sent, and nothing arrived' 'the card has noticed, for' \
        "^error: $refused" 'dma-outside-mapping .* port 1 made the device write 60 bytes at iova 0xfffffffff000' \
        'dma-outside-mapping .* port 0 made the device read 60 bytes at iova 0xfffffffff000'; do
        if cat "$directory/out" "$directory/err" | grep -Eq -- "$text"; then ok; else not_ok "stray ($mode) did not print '$text'"; fi
    done
    if [ $status -eq 0 ]; then ok; else not_ok "stray ($mode) ended with $status"; fi
done

# Everything refused, from the first DMA on or later, at either end of the cable.
try 1 "$refused" scripts/sim --fault0 iommu 05-ixgbe/poll
try 1 "$refused" scripts/sim --fault1 iommu 06-interrupts/wait
try 1 "$refused" scripts/sim --fault0 iommu 07-apps/loopsend --count 100
try 1 "$refused" scripts/sim --mode stepped --fault1 iommu@900 07-apps/loopsend --interrupts
try 1 "$refused" scripts/sim --fault1 iommu 07-apps/pcap --interrupts "$directory/refused.pcap"
expect_packets 0 "$directory/refused.pcap"
try 1 "$refused" scripts/sim --fault0 iommu 07-apps/echo
try 1 "$refused" scripts/sim --wire generator:rate=1000 --fault1 iommu 07-apps/fwd --seconds 5

# A card that is pulled out while a program waits for it. Bringing it up takes some 750 register accesses, 830 with the
# four queues of stat; and who finds it gone there says so of its registers.
gone='configuration space reads as all ones; the card does not answer any more'
try 1 "$gone" scripts/sim --mode stepped --fault1 unplugged@1000 07-apps/pcap --interrupts "$directory/gone.pcap"
try 1 "$gone" scripts/sim --mode stepped --fault0 unplugged@1000 07-apps/echo
try 1 "$gone" scripts/sim --mode stepped --fault1 unplugged@900 07-apps/stat

finish
