#!/bin/sh
# test_sim82599d.sh: the vfio-user server as a program: what it refuses, when it is ready, and how it leaves.
set -u
program=build/sim82599d
folder=$(mktemp -d "${TMPDIR:-/tmp}/sim82599d.XXXXXX") || exit 1
export SIM82599_MACHINE="test-sim82599d-$$"
passed=0 failed=0 server=

leave() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    rm -rf "$folder"
}
trap leave EXIT
trap 'exit 1' INT TERM

check() { # WHAT COMMAND...
    what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $0: $what: $*"
        sed 's/^/    /' "$folder/log"
    fi
}

ends_with() { # STATUS OPTION...: the program says no by itself
    status=$1
    shift
    timeout 60 "$program" "$@" >"$folder/out" 2>"$folder/log"
    [ $? = "$status" ]
}
says() { grep -q -- "$1" "$folder/log"; }
says_alone() { grep -qx -- "$1" "$folder/log"; }

start() { # OPTION...
    : >"$folder/log"  # the last one was ready, too
    "$program" "$@" 2>"$folder/log" &
    server=$!
    tries=600
    until says_alone ready; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 $server 2>/dev/null || return 1
        sleep 0.1
    done
}
stop() { # SIGNAL: and what the exit status is
    kill "-$1" $server
    wait $server
    status=$?
    server=
    return $status
}

: >"$folder/log"
check "--help succeeds" ends_with 0 --help
for option in --socket --wire --wire0 --wire1 --fault --fault0 --fault1 --trace --machine; do
    check "--help explains it" grep -q -- "$option" "$folder/out"
done

check "no socket is an error" ends_with 2
check "which is named" says "name a --socket"
check "an unknown option is an error" ends_with 2 --nonsense
check "which is named" says "unknown option --nonsense"
check "an option without its value is an error" ends_with 2 --socket
check "which is named" says "--socket needs a value"
check "a word too many is an error" ends_with 2 --socket "$folder/0" more
check "which is named" says '"more"'
check "a trace's file is part of its option" ends_with 2 --socket "$folder/0" --trace "$folder/trace"
check "so a word behind it is named" says "$folder/trace"
check "a third port is an error" ends_with 2 --socket "$folder/0" --socket "$folder/1" --socket "$folder/2"
check "which is named" says "$folder/2"
check "an unknown wire is an error" ends_with 2 --socket "$folder/0" --wire0 string
check "which is named" says '"string"'
check "an unknown fault is an error" ends_with 2 --socket "$folder/0" --fault tired
check "which is named" says tired
check "a folder that is not there is an error" ends_with 1 --socket "$folder/no/0"
check "which is named" says "$folder/no/0"
check "nothing is left behind" [ ! -e "$folder/0" ]

check "two ports" start --socket "$folder/0" --socket "$folder/1" "--trace=$folder/trace"
check "port 0 is announced" says_alone "listening on $folder/0"
check "port 1 is announced" says_alone "listening on $folder/1"
check "port 0 is there" [ -S "$folder/0" ]
check "port 1 is there" [ -S "$folder/1" ]
check "a trace is written" [ -s "$folder/trace" ]
check "a socket in use is refused" ends_with 1 --machine "$SIM82599_MACHINE-2" --socket "$folder/1"
check "and named" says "$folder/1 is in use"
check "it is still there" [ -S "$folder/1" ]
check "a machine's port has one owner" ends_with 1 --socket "$folder/2"
check "and that is said" says "belongs to another process"
check "SIGTERM ends it well" stop TERM
check "socket 0 is gone" [ ! -e "$folder/0" ]
check "socket 1 is gone" [ ! -e "$folder/1" ]

for option in --trace --trace=-; do
    check "$option" start --socket "$folder/0" "$option"
    check "$option is standard error" says "p0 reset"
    check "SIGTERM ends it well" stop TERM
done

check "one port" start --socket "$folder/0" --wire sink
check "SIGINT ends it well" stop INT
check "one port again" start --socket "$folder/0"
stop KILL 2>/dev/null
check "a killed server leaves its socket" [ -S "$folder/0" ]
check "the next one takes its place" start --socket "$folder/0"
check "and ends well" stop TERM
check "the socket is gone" [ ! -e "$folder/0" ]

echo "$passed passed, $failed failed"
[ $failed = 0 ]
