#!/bin/bash
# What makes no sense is refused by name; and what is built needs libc only.
. "$(dirname "$0")/testing.sh"

try 2 "unrecognized option.*fast" 07-apps/loopsend --fast
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
try 2 "--batch: '257' is not a whole number from 1 to 256" 07-apps/fwd --batch 257
try 2 "--queues: '17' is not a whole number from 1 to 16" 07-apps/fwd --queues 17
try 2 "--queues: '0'" 07-apps/fwd --queues 0
try 2 "--count: 'many'" 07-apps/fwd --count many
try 2 "--seconds: '0'" 07-apps/fwd --seconds 0
try 2 "unrecognized option.*fast" 07-apps/fwd --fast
try 2 '0000:04:00.0 alone: which is the other port' 07-apps/fwd 04:00.0
try 2 "'06:00.0' is one address too many" 07-apps/fwd 04:00.0 05:00.0 06:00.0
try 2 'same port' 07-apps/fwd 04:00.0 0000:04:00.0
try 2 'no FILE' 07-apps/pcap
try 2 "--snaplen: '0'" 07-apps/pcap --snaplen 0 x
try 2 "--snaplen: '65536'" 07-apps/pcap --snaplen 65536 x
try 2 "unrecognized option.*bogus" 07-apps/pcap --bogus x
try 2 "'extra' is one argument too many" 07-apps/pcap x 04:00.0 extra
try 2 "unrecognized option.*bogus" 07-apps/echo --bogus
try 2 "--ip: '192.0.2' is not an IP address" 07-apps/echo --ip 192.0.2
try 2 "--ip: 'fe80::1%eth0' is not an IP address" 07-apps/echo --ip fe80::1%eth0
try 2 "--ip: 224.0.0.1 cannot be the address of one host" 07-apps/echo --ip 224.0.0.1
try 2 "--ip: :: cannot be the address of one host" 07-apps/echo --ip ::
try 2 "--ip: 10.0.0.9 is one too many; there is room for 8" 07-apps/echo $(printf -- '--ip 10.0.0.%d ' 1 2 3 4 5 6 7 8 9)
try 2 "--ip: fd00::8 is one too many.* the link-local" 07-apps/echo $(printf -- '--ip fd00::%d ' 1 2 3 4 5 6 7 8)
try 2 "'05:00.0' is one argument too many" 07-apps/echo 04:00.0 05:00.0
try 2 "unrecognized option.*bogus" 07-apps/stat --bogus
try 2 "--queues: '17' is not a whole number from 1 to 16" 07-apps/stat --queues 17
try 2 "'05:00.0' is one argument too many" 07-apps/stat 04:00.0 05:00.0
try 2 '--ring: 65 is not a power of two' 07-apps/bench --ring 65 --queues 16
try 2 'same port' 07-apps/bench 04:00.0 0000:04:00.0
try 2 'usage: 05-ixgbe/poll \[FROM TO\]' 05-ixgbe/poll 04:00.0
try 2 'cannot be both ends' 05-ixgbe/segment 04:00.0 0000:04:00.0
for program in 01-vfio/probe 02-dma/dmamap 03-mempool/pool 04-rings/rings 05-ixgbe/poll 05-ixgbe/stray 05-ixgbe/segment 06-interrupts/wait \
    07-apps/loopsend 07-apps/pcap 07-apps/fwd 07-apps/echo 07-apps/stat; do
    try 0 '^usage: ' $program --help
    try 1 'not all that was printed has been written' sh -c "$program --help >/dev/full"
    try 2 'not a PCI address' $program nonsense:00.0 $([[ $program =~ poll|stray|segment|wait ]] && echo 05:00.0) $([[ $program =~ pcap ]] && echo nonsense)
done

for program in 01-vfio/probe 07-apps/loopsend 07-apps/pcap 07-apps/fwd 07-apps/echo 07-apps/stat build/libsim82599.so; do
    if ldd $program | grep -q 'lib.*san\.'; then continue; fi  # a sanitizer is a dependency, but not one of ours
    if ldd $program | grep -vE 'linux-vdso|ld-linux|ld-musl|libc\.|libpthread|libdl' >"$directory/out"; then not_ok "$program needs more than libc"; else ok; fi
done

finish
