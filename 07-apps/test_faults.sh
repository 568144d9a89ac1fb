#!/bin/bash
# Things that are not as they should be: missing, refused, broken, stuck, pulled out.
. "$(dirname "$0")/testing.sh"

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
try 1 'reads as all ones; the device does not answer' scripts/sim --fault unplugged 01-vfio/probe
try 1 'registers read as all ones; the device does not answer' scripts/sim --mode stepped --fault unplugged@1 01-vfio/probe
# A machine that cannot be built is none: not even the real one.
try 1 'no such fault: bogus' scripts/sim --fault bogus 01-vfio/probe
if grep -q 'sudo modprobe' "$directory/err"; then not_ok "it has looked for the real one"; else ok; fi
try 1 'every register reads as all ones' scripts/sim --mode stepped --fault unplugged@2000 07-apps/loopsend
lost='standard output: not all that was printed has been written; is the disk full'
for program in 01-vfio/probe 02-dma/dmamap '07-apps/loopsend --count 10'; do
    try 1 "$lost.*No space left" sh -c "scripts/sim $program >/dev/full"
done
# These print more than stdio holds back in some C libraries.
for program in 03-mempool/pool 04-rings/rings; do try 1 "$lost" sh -c "scripts/sim $program >/dev/full"; done
# The two ports' cable needs room in /dev/shm. Not every system lets its users take that away from themselves.
for options in size=1m ro; do
    mount="mount -t tmpfs -o $options none /dev/shm"
    if unshare -Urm sh -c "$mount" 2>/dev/null; then
        try 1 '/dev/shm/sim82599-.*(no room for 4096 KiB|Read-only file system)' unshare -Urm sh -c "$mount && scripts/sim 07-apps/loopsend --count 10"
    else
        skip "a /dev/shm that is full or not to be written to: users may mount nothing here"
    fi
done
# Nothing to capture is no error.
try 0 '^0 packets' scripts/sim --wire unplugged 07-apps/pcap --interrupts --seconds 1 "$directory/dark.pcap"
try 1 '0000:04:00.0: the IOMMU refused a read' scripts/sim --fault0 iommu 05-ixgbe/segment
# Frames, but of somebody else: no segments.
try 1 '0 of 3 segments arrived' scripts/sim --wire generator:rate=1000 05-ixgbe/segment

finish
