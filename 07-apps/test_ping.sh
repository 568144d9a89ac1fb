#!/bin/bash
# The kernel's network stack, with ping and arping, at the other end of the wire: a judge that we have not written.
. "$(dirname "$0")/testing.sh"

# pings 'TEXT' COMMAND...: as try 0, in the network in which our driver answers.
pings() {
    local text=$1
    shift
    try 0 "$text" scripts/ping "$@"
}

# printed 'TEXT': the last program printed that, too.
printed() { if grep -Eq -- "$1" "$directory/out"; then ok; else not_ok "'$1' was not printed"; fi; }

have() {
    command -v "$1" >/dev/null && return
    skip "there is no $1, so it cannot ask; on Debian: apt-get install $2"
    return 1
}

# Where namespaces are forbidden, it says so and what to do. Here it is unshare that is made to refuse.
mkdir "$directory/bin"
printf '#!/bin/sh\nexit 1\n' >"$directory/bin/unshare" && chmod +x "$directory/bin/unshare"
if command -v ip >/dev/null; then
    try 3 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' env PATH="$directory/bin:$PATH" scripts/ping true
fi
try 2 'unknown option --bogus' scripts/ping --bogus
try 0 'usage: scripts/ping' scripts/ping --help

scripts/ping true >"$directory/out" 2>&1
if [ $? -eq 3 ]; then
    skip "$(sed -n '1s/^ping: //p' "$directory/out")"
    finish
    exit
fi

try 7 'answers for 192.0.2.100' scripts/ping sh -c 'exit 7'  # the command's own exit code

# It is killed, and nobody is left in its network: the pipe ends when all have ended who could write to it.
for signal in TERM KILL; do
    if [ $signal = KILL ] && ! setpriv --pdeathsig TERM true 2>/dev/null; then continue; fi
    exec 3< <(TMPDIR=$directory exec scripts/ping sleep 1 2>&1)  # SIGKILL leaves a directory
    pid=$!
    timeout 30 grep -q 'answers for' <&3
    kill -$signal $pid
    if timeout 30 cat <&3 >"$directory/out"; then ok; else not_ok "somebody goes on when scripts/ping has got SIG$signal"; fi
done

# The terminal is closed, and all get a SIGHUP. Nothing is left.
mkdir "$directory/closed"
rm -f "$directory/out"  # which may say the same already
set -m  # in a process group of its own, as from a terminal
TMPDIR=$directory/closed scripts/ping sleep 60 >"$directory/out" 2>"$directory/err" </dev/null &
pid=$!
set +m
wait_for 'answers for' "$directory/out"
kill -HUP -- -$pid
wait $pid 2>/dev/null
if ls -d "$directory"/closed/* /dev/shm/sim82599-*-ping-$pid 2>/dev/null; then not_ok "scripts/ping left this behind"; else ok; fi

if have ping iputils-ping; then
    pings '^3 packets transmitted, 3 received'  # both pings of `make ping`
    printed '^ +192.0.2.1 asks who has 192.0.2.100: it is at 90:e2:ba:82:59:00$'
    printed '^ +2001:db8::1 asks who has 2001:db8::64: it is at 90:e2:ba:82:59:00$'
    printed '^ +[0-9]+ questions answered: ARP [1-9], ping 3, neighbour solicitation [1-9], IPv6 ping 3$'  # more than one, if we are late

    # Ctrl-C in the middle of the first: there is no second one, and the driver says what it has done. Here ping asks once a
    # minute, so that it is in the middle for long.
    mkdir "$directory/slow"
    printf '#!/bin/sh\nexec %s -i 60 "$@"\n' "$(command -v ping)" >"$directory/slow/ping" && chmod +x "$directory/slow/ping"
    rm "$directory/out"
    set -m
    PATH="$directory/slow:$PATH" scripts/ping >"$directory/out" 2>"$directory/err" </dev/null &
    pid=$!
    set +m
    wait_for ' pings 192.0.2.100: answered' "$directory/out"
    kill -INT -- -$pid
    wait $pid
    status=$?
    if [ $status -eq 130 ] && ! grep -q '2001:db8::64(' "$directory/out"; then ok; else not_ok "scripts/ping ended with $status after Ctrl-C"; fi
    printed ' questions answered: .*ping 1(,|$)'

    # -w: until so many are answered, or a few more; without it, ping does not wait long for the last ones, and gives up on a busy machine.
    for address in 192.0.2.100 2001:db8::64; do
        pings ' [1-9][0-9]{3} received' ping -q -f -c 1000 -w 30 $address
        pings ' ([2-9]|[1-9][0-9]+) received' ping -q -c 2 -w 30 -i 0.01 -s 0 $address
        pings ' ([2-9]|[1-9][0-9]+) received' ping -q -c 2 -w 30 -i 0.01 -s 1001 $address
    done
    pings ' ([2-9]|[1-9][0-9]+) received' ping -q -c 2 -w 30 -i 0.01 -M do -s 1472 192.0.2.100
    pings ' ([2-9]|[1-9][0-9]+) received' ping -q -c 2 -w 30 -i 0.01 -M do -s 1452 2001:db8::64
    pings ' ([2-9]|[1-9][0-9]+) received' ping -q -c 2 -w 30 -i 0.01 fe80::92e2:baff:fe82:5900%wire0
    try 1 '^1 packets transmitted, 0 received' scripts/ping ping -q -c 1 -W 5 -s 3000 192.0.2.100
    printed 'fragments 3$'
fi

if have arping iputils-arping; then
    pings '^Received ([2-9]|[1-9][0-9]+) response' arping -c 2 -w 30 -I wire0 192.0.2.100
    try 1 'from 0.0.0.0 wire0' scripts/ping arping -D -c 1 -w 20 -I wire0 192.0.2.100  # 1: the address is taken
    printed '^ +somebody asks who has 192.0.2.100: it is at 90:e2:ba:82:59:00'
fi

# The kernel wants our IPv6 address. It asks whether somebody has it, and gives up. Each time it waits a second for an
# answer, so here it asks ten times.
pings 'dadfailed' sh -c 'echo 10 >/proc/sys/net/ipv6/conf/wire0/dad_transmits
    ip addr add 2001:db8::64/64 dev wire0
    for try in $(seq 30); do ip addr show dev wire0 | grep dadfailed && break; sleep 0.5; done'
printed '^ +somebody asks who has 2001:db8::64: it is at 90:e2:ba:82:59:00'
finish
