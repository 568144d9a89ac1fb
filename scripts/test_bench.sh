#!/bin/bash
# What scripts/bench makes of its measurements, from a table whose right answers are known; and that bench measures.
. "$(dirname "$0")/../07-apps/testing.sh"

printed() { if grep -Eq -- "$1" "$directory/out"; then ok; else not_ok "it did not print '$1'"; fi; }

measure() { # OPERATION BATCH ROWS
    try 0 '^operation	batch	size	queues	ring	packets	cycles' scripts/sim --mode manual --wire0 generator:size=508,flows=64 --wire1 sink \
        07-apps/bench --size 512 --queues 4 --ring 1024 --rounds 3 $1 $2
    if [ "$(grep -Ec '^(receive|transmit|forward)	(1|8|32|64|256)	512	4	1024	20480	[0-9]+\.[0-9][0-9]$' "$directory/out")" = $3 ]; then ok; else not_ok "not $3 rows"; fi
}
measure '' '' 45
measure '--operation forward' '--batch 8' 3
try 0 'running on the software NIC' 07-apps/bench --operation forward --batch 32 --rounds 1
try 1 'too few packets within' scripts/sim --mode manual --wire sink 07-apps/bench --operation receive
try 2 "'reverse' is not receive, transmit or forward" 07-apps/bench --operation reverse
try 2 "--batch: '257' is not" 07-apps/bench --batch 257
try 2 "--size: '63' is not" 07-apps/bench --size 63
try 2 "--queues: '17' is not" 07-apps/bench --queues 17
try 2 '--ring: 256 descriptors in each of 1 queues; together at least 512' 07-apps/bench --ring 256
try 2 "--rounds: '0' is not" 07-apps/bench --rounds 0
try 2 'two addresses, or none' 07-apps/bench 04:00.0
try 0 '^usage: ' 07-apps/bench --help

{
    printf 'driver\tpath\toperation\tbatch\tsize\tqueues\tmetric\tunit\tmedian\tmin\tmax\n'
    printf '%s\tforward\t%s\t64\t1\tcycles\tcycles/packet\t%s\n' \
        'ours	plain' 1 '50	49	51' 'ours	plain' 8 '30	29	31' 'ours	plain' 32 '20	19	21' 'ours	plain' 64 '21	20	22' 'ours	plain' 256 '25	24	26' \
        'dpdk	vector' 8 '40	39	41' 'dpdk	vector' 32 '22	21	23' 'ours	plain ring 4096' 32 '27	27	27'
    printf 'ours\tplain\tforward\t32\t64\t1\tinstructions\tinstructions/packet\t45.5\t45.5\t45.5\n'
} >"$directory/bench.tsv"
try 0 '^forward cycles +32 +64 +1 +20.0 \(19.0 to 21.0\) +- +22.0 \(21.0 to 23.0\)$' scripts/bench-report table "$directory/bench.tsv"
printed '^forward cycles ring 4096 +32 +64 +1 +27.0 +- +-$'
printed '^forward instructions +32 +64 +1 +45.5 +- +-$'
try 0 '^<svg ' scripts/bench-report chart "$directory/bench.tsv"
printed '>this driver: 20.0 at 32<'
printed '>DPDK, vector: 22.0 at 32<'
printed '^</svg>$'
if [ "$(grep -c '<circle class="ours" cx="[0-9]*" cy="[0-9.]*" r="4"/>' "$directory/out")" = 6 ]; then ok; else not_ok "not five points and one in the legend"; fi
if grep -q scalar "$directory/out" && ! grep -q 'DPDK, scalar' "$directory/out"; then ok; else not_ok "a line for what was not measured"; fi
try 2 'usage: ' scripts/bench-report
try 2 "'x' is not a number of runs" scripts/bench x
try 0 '^usage: ' scripts/bench --help

finish
