#!/bin/sh
# Do the setup scripts keep their promises? No hardware, no root: each test builds a small directory tree that
# plays /sys, /proc and /dev, and a program "tee" that plays the kernel, because tee is what the scripts write
# to it with.
#
# usage: scripts/test_setup.sh [SHELL]...   under each of these shells (default sh); scripts/check shells names three
set -u
export LC_ALL=C
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
passed=0
failed=0
skipped=0

# ---- the programs that the scripts see, and no others ----

bin=$work/bin
mkdir "$bin"
for tool in awk cat ls readlink rm sed sort stat tr sh dash bash busybox; do
    ! path=$(command -v $tool) || ln -s "$path" "$bin/$tool"
done
real_tee=$(command -v tee)

program() { cat >"$bin/$1" && chmod +x "$bin/$1"; }

program id <<'END'
#!/bin/sh
case $* in
-u) echo "${TEST_UID:-0}" ;;
"-u alice") echo 1001 ;;
*) exit 1 ;;
esac
END

program ip <<'END'
#!/bin/sh
echo "ip $*" >>"$SYSFS_ROOT/log"
for interface; do :; done
[ ! -e "$SYSFS_ROOT/addresses/$interface" ] || cat "$SYSFS_ROOT/addresses/$interface"
END

program modprobe <<'END'
#!/bin/sh
echo "modprobe $*" >>"$SYSFS_ROOT/log"
[ ! -e "$SYSFS_ROOT/no_modules" ] || { echo "modprobe: FATAL: Module $* not found" >&2; exit 1; }
case $1 in
vfio-pci) mkdir -p "$SYSFS_ROOT/sys/bus/pci/drivers/vfio-pci" ;;
vfio_iommu_type1) mkdir -p "$SYSFS_ROOT/sys/module/vfio_iommu_type1" ;;
esac
END

for tool in chown udevadm; do
    program $tool <<END
#!/bin/sh
echo "$tool \$*" >>"\$SYSFS_ROOT/log"
[ ! -e "\$SYSFS_ROOT/no_$tool" ]
END
done

# The kernel, as far as these scripts know it. Files in $SYSFS_ROOT may hold the end of a path that gets a
# special answer: "deny" an error, "ignore" no effect, "stop" a SIGTERM to the script.
program tee <<END
#!/bin/sh
real_tee=$real_tee
END
cat >>"$bin/tee" <<'END'
file=$1
value=$(cat)
root=$SYSFS_ROOT
pci=$root/sys/bus/pci
echo "$value > ${file#"$root"}" >>"$root/log"

ends_like() { [ -e "$root/$1" ] && case $file in *"$(cat "$root/$1")") true ;; *) false ;; esac }
driver_of() { driver=$(readlink "$pci/devices/$1/driver") && echo "${driver##*/}"; }
group_of() { group=$(readlink "$pci/devices/$1/iommu_group") && echo "${group##*/}"; }

group_has_vfio() {
    for member in "$pci/devices/$1/iommu_group/devices"/*; do
        [ "$(driver_of "${member##*/}")" != vfio-pci ] || return 0
    done
    return 1
}

look_for_driver() {
    [ -z "$(driver_of "$1")" ] || return 0
    driver=$(cat "$pci/devices/$1/driver_override")
    [ "$driver" != "(null)" ] || driver=$(cat "$pci/devices/$1/at_boot")
    [ -d "$pci/drivers/${driver:-none}" ] || return 0
    ln -s "../../drivers/$driver" "$pci/devices/$1/driver"
    [ "$driver" != vfio-pci ] || : >"$root/dev/vfio/$(group_of "$1")"
}

! ends_like ignore || exit 0
! ends_like deny || { echo "tee: $file: Device or resource busy" >&2; exit 1; }
case $file in
*/driver_override) echo "${value:-(null)}" >"$file" ;;
*/unbind)
    rm "$pci/devices/$value/driver"
    group_has_vfio "$value" || rm -f "$root/dev/vfio/$(group_of "$value")"
    ;;
*/drivers_probe) look_for_driver "$value" ;;
*/compact_memory) [ ! -e "$root/after_compaction" ] || cat "$root/after_compaction" >"$root/most_pages" ;;
*/nr_hugepages)
    [ "$value" -ge "$(cat "$root/fewest_pages")" ] || value=$(cat "$root/fewest_pages")
    [ "$value" -le "$(cat "$root/most_pages")" ] || value=$(cat "$root/most_pages")
    echo "$value" >"$file"
    ;;
*) echo "$value" | "$real_tee" "$file" ;;
esac
! ends_like stop || kill -TERM "$PPID"
END
chmod +x "$bin/tee"
ln -s "$(command -v mkdir)" "$(command -v ln)" "$bin"

# ---- the machine that the scripts see ----

SYSFS_ROOT=$work/root
TEST_UID=0
export SYSFS_ROOT TEST_UID
pci=$SYSFS_ROOT/sys/bus/pci
pool=$SYSFS_ROOT/sys/kernel/mm/hugepages/hugepages-2048kB

# A PC with four groups: 12 is an 82599 with two ports behind a bridge; 13 a NIC beside a sound chip; 14 a
# disk; 15 a NIC and a device without a driver.
build_machine() {
    mkdir -p "$pci/devices" "$pci/drivers" "$SYSFS_ROOT/sys/class/net" "$SYSFS_ROOT/sys/module" \
        "$SYSFS_ROOT/dev/vfio" "$SYSFS_ROOT/proc/sys/vm" "$SYSFS_ROOT/addresses" \
        "$pool"
    : >"$SYSFS_ROOT/log"

    device 0000:00:1c.0 12 0x060400 pcieport
    device 0000:04:00.0 12 0x020000 ixgbe
    device 0000:04:00.1 12 0x020000 ixgbe
    device 0000:00:1f.6 13 0x020000 e1000e
    device 0000:00:1f.3 13 0x040300 snd_hda_intel
    device 0000:02:00.0 14 0x010802 nvme
    device 0000:05:00.0 15 0x020000 ixgbe
    device 0000:05:00.2 15 0x088000 ''
    interface eth0 0000:04:00.0 0x1002
    interface eth1 0000:04:00.1 0x1002
    interface eth2 0000:00:1f.6 0x1002
    interface eth3 0000:05:00.0 0x1002
    echo "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT" \
        >"$SYSFS_ROOT/proc/net/route"
    route eth2 0000A8C0 00FFFFFF

    echo 0 >"$pool/nr_hugepages"
    echo 0 >"$pool/free_hugepages"
    echo 1000 >"$SYSFS_ROOT/most_pages"
    echo 0 >"$SYSFS_ROOT/fewest_pages"
}

# Every test starts with the same machine, and as root.
new_machine() {
    rm -rf "$SYSFS_ROOT"
    cp -R -P "$work/as_built" "$SYSFS_ROOT"
    TEST_UID=0
}

# device ADDRESS GROUP CLASS DRIVER
device() {
    here=$pci/devices/$1
    mkdir -p "$here" "$SYSFS_ROOT/sys/kernel/iommu_groups/$2/devices"
    ln -s "../../../../kernel/iommu_groups/$2" "$here/iommu_group"
    ln -s "../../../../bus/pci/devices/$1" "$SYSFS_ROOT/sys/kernel/iommu_groups/$2/devices/$1"
    echo 0x8086 >"$here/vendor"
    echo 0x10fb >"$here/device"
    echo "$3" >"$here/class"
    echo "(null)" >"$here/driver_override"
    echo "$4" >"$here/at_boot"
    [ -n "$4" ] || return 0
    mkdir -p "$pci/drivers/$4"
    ln -s "../../drivers/$4" "$here/driver"
}

# interface NAME ADDRESS FLAGS; flags 0x1003 are "up", 0x1002 "down"
interface() {
    mkdir -p "$SYSFS_ROOT/proc/net" "$SYSFS_ROOT/sys/class/net/$1"
    [ -z "$2" ] || mkdir -p "$pci/devices/$2/net/$1"
    echo "$3" >"$SYSFS_ROOT/sys/class/net/$1/flags"
}

# has_address NAME FAMILY ADDRESS, as "ip -o addr show" prints it; the interface is up then
has_address() {
    echo 0x1003 >"$SYSFS_ROOT/sys/class/net/$1/flags"
    echo "2: $1    $2 $3 scope global $1\       valid_lft forever" >>"$SYSFS_ROOT/addresses/$1"
}

# route INTERFACE DESTINATION MASK, as in /proc/net/route
route() { echo "$1 $2 00000000 0001 0 0 0 $3 0 0 0" >>"$SYSFS_ROOT/proc/net/route"; }

# ---- checks ----

# The last argument of each check says what ought to be so, in words that occur once in this file.
ok() { passed=$((passed + 1)); echo "ok - $shell: $1"; }

fail() {
    failed=$((failed + 1))
    echo "FAIL - $shell: $1"
    echo "    scripts/test_setup.sh:$(grep -nF -- "$1" scripts/test_setup.sh | cut -d: -f1 | tail -n 1)"
    echo "    $2"
    echo "    exit status $status, output:"
    sed 's/^/    | /' "$work/out"
}

vfio() { run setup-vfio.sh "$@"; }
hugepages() { run setup-hugepages.sh "$@"; }

run() {
    script=$1
    shift
    # shellcheck disable=SC2086 # "busybox ash" is two words
    PATH=$bin $shell "scripts/$script" "$@" >"$work/out" 2>&1 </dev/null
    status=$?
}

exits() { if [ $status = "$1" ]; then ok "$2"; else fail "$2" "exit status: want $1, got $status"; fi; }
says() { if grep -qF -- "$1" "$work/out"; then ok "$2"; else fail "$2" "not said: $1"; fi; }
keeps_silent_about() { if grep -qF -- "$1" "$work/out"; then fail "$2" "said: $1"; else ok "$2"; fi; }
same() { if [ "$1" = "$2" ]; then ok "$3"; else fail "$3" "want '$1', got '$2'"; fi; }

driver() { name=$(readlink "$pci/devices/$1/driver"); echo "${name##*/}"; }
drivers() { for address; do driver "$address"; done | tr '\n' ' '; }
log() { grep -e "$1" "$SYSFS_ROOT/log"; }
writes() { log ' > ' | tr '\n' ';'; }

# ---- setup-hugepages.sh ----

test_hugepages() {
    new_machine
    hugepages 100
    exits 0 "100 huge pages can be had"
    same 100 "$(cat "$pool/nr_hugepages")" "100 huge pages are asked for"
    says "0 before, 100 now (200 MiB" "it says how many huge pages there are now"
    hugepages 100
    exits 0 "asking for the same number of huge pages again is fine"
    same 100 "$(cat "$pool/nr_hugepages")" "asking again leaves as many huge pages"
    echo 90 >"$pool/free_hugepages"
    TEST_UID=1000
    hugepages --status
    exits 0 "huge pages: --status works for everybody"
    says "100, of which 90 free" "--status counts huge pages"
    hugepages 50
    exits 1 "ordinary users cannot set huge pages"
    says "only root" "it says that huge pages need root"
    same 100 "$(cat "$pool/nr_hugepages")" "an ordinary user changes no huge page"
    TEST_UID=0
    hugepages --restore
    exits 0 "huge pages: --restore works"
    same 0 "$(cat "$pool/nr_hugepages")" "--restore leaves no huge page"
    hugepages
    same 64 "$(cat "$pool/nr_hugepages")" "64 huge pages are the default"

    new_machine
    echo 40 >"$SYSFS_ROOT/most_pages"
    hugepages 64
    exits 1 "fewer huge pages than asked for is a failure"
    says "asked for 64 pages, the kernel gave 40" "it says how many huge pages were asked for and given"
    new_machine
    echo 40 >"$SYSFS_ROOT/most_pages"
    echo 64 >"$SYSFS_ROOT/after_compaction"
    hugepages 64
    exits 0 "memory is compacted when there are too few huge pages"
    new_machine
    hugepages 64
    echo 5 >"$SYSFS_ROOT/fewest_pages"
    hugepages --restore
    exits 1 "huge pages that are in use cannot be given back"
    says "5 are left: a running program uses them" "it says how many huge pages are in use"
    new_machine
    echo nr_hugepages >"$SYSFS_ROOT/deny"
    hugepages 64
    exits 1 "it fails when the kernel turns the number of huge pages down"
    says "the kernel turned 64 pages down" "it says which number of huge pages was turned down"
    new_machine
    rm -r "$pool"
    hugepages 64
    exits 1 "it fails on a kernel without huge pages"
    says "no 2 MiB huge pages" "it says that the kernel has no huge pages"

    new_machine
    for wrong in --fast twelve 12x '' 99999999999; do
        hugepages "$wrong"
        exits 2 "a wrong argument is refused for huge pages"
        says "$wrong" "the wrong argument for huge pages is named"
    done
    hugepages 1 2
    exits 2 "two numbers of huge pages are refused"
    same '' "$(writes)" "wrong arguments change no huge page"
    hugepages --help
    exits 0 "setup-hugepages.sh --help works"
    for option in '[N]' --status --restore; do says "$option" "setup-hugepages.sh --help tells all"; done
}

# ---- setup-vfio.sh ----

test_bind() {
    new_machine
    vfio 0000:05:00.0
    exits 0 "a NIC that nobody uses can be bound"
    same vfio-pci "$(driver 0000:05:00.0)" "the NIC ends up with vfio-pci"
    same "modprobe vfio-pci" "$(log 'modprobe vfio-pci')" "vfio-pci is loaded"
    same "modprobe vfio_iommu_type1" "$(log type1)" "VFIO's IOMMU half is loaded"
    dev=/sys/bus/pci/devices/0000:05:00.0
    same "vfio-pci > $dev/driver_override;0000:05:00.0 > $dev/driver/unbind;\
0000:05:00.0 > /sys/bus/pci/drivers_probe;" "$(writes)" "override, unbind and probe are written in this order"
    says "/dev/vfio/15: ready" "the group's device file is named"
    says "0000:05:00.2 is in IOMMU group 15 too, and stays as it is" \
        "a group member without driver is mentioned"
    same '' "$(driver 0000:05:00.2)" "a group member without driver stays so"

    : >"$SYSFS_ROOT/log"
    vfio 05:00.0
    exits 0 "binding twice is fine, with and without domain"
    says "0000:05:00.0: already bound to vfio-pci" "it says that there is nothing to do"
    same '' "$(writes)$(log modprobe)" "the second run changes nothing"

    vfio --restore 05:00.0
    exits 0 "vfio: --restore works"
    same ixgbe "$(driver 0000:05:00.0)" "--restore brings the kernel's driver back"
    same '(null)' "$(cat "$pci/devices/0000:05:00.0/driver_override")" "--restore clears the override"
    : >"$SYSFS_ROOT/log"
    vfio --restore 05:00.0
    exits 0 "restoring twice is fine"
    says "0000:05:00.0: vfio-pci does not have it (driver ixgbe), nothing to do" "a second --restore says so"
    same '' "$(writes)" "the second --restore changes nothing"

    new_machine
    vfio 05:00.0 0000:04:00.1 04:00.0
    exits 0 "several NICs can be bound at once"
    same "vfio-pci vfio-pci vfio-pci " "$(drivers 0000:05:00.0 0000:04:00.0 0000:04:00.1)" \
        "all that were named are bound"
    same 3 "$(log drivers_probe | wc -l | tr -d ' ')" "no device is bound twice"
    new_machine
    vfio 0A:00.0
    says "0000:0a:00.0: there is no such PCI device" "capital letters are fine in an address"
}

test_group() {
    new_machine
    vfio 04:00.0
    exits 0 "a group of two ports can be bound"
    same "vfio-pci vfio-pci " "$(drivers 0000:04:00.0 0000:04:00.1)" "the whole group is bound"
    says "0000:04:00.1 is in IOMMU group 12 too, and goes along" "the second port is mentioned"
    same pcieport "$(driver 0000:00:1c.0)" "the bridge keeps its driver"
    says "0000:00:1c.0 is in IOMMU group 12 too, and stays" "the bridge is mentioned"
    vfio --restore 04:00.1
    same "ixgbe ixgbe " "$(drivers 0000:04:00.0 0000:04:00.1)" "--restore of one port restores the group"
    exits 0 "restoring a group works"

    new_machine
    vfio 00:1f.6
    exits 1 "a group with a sound chip in use is refused"
    says "0000:00:1f.3: it is no NIC (class 0x040300), and driver snd_hda_intel has it" \
        "the sound chip is named"
    same "e1000e snd_hda_intel " "$(drivers 0000:00:1f.6 0000:00:1f.3)" \
        "with the sound chip refused, nothing changes"
    vfio --force 00:1f.6
    exits 0 "a group with a sound chip can be forced"
    same "vfio-pci vfio-pci " "$(drivers 0000:00:1f.6 0000:00:1f.3)" "the forced sound chip goes along"
    vfio --restore 00:1f.6
    same "e1000e snd_hda_intel " "$(drivers 0000:00:1f.6 0000:00:1f.3)" "a forced group finds its way back"

    new_machine
    vfio 02:00.0
    exits 1 "a disk is refused"
    same nvme "$(driver 0000:02:00.0)" "the disk keeps its driver"
    vfio 00:1c.0
    exits 1 "a bridge is refused"
    says "is a PCI bridge; name the NIC behind it" "it says what a bridge is"

    new_machine
    rm "$pci/devices/0000:05:00.0/iommu_group"
    vfio --force 05:00.0
    exits 1 "a device without IOMMU group is refused, even by force"
    says "VT-d" "it says what to set in the BIOS"
    says "intel_iommu=on" "it says what to write on the kernel command line"
    same '' "$(writes)" "without IOMMU nothing is written"
}

test_in_use() {
    new_machine
    has_address eth3 inet 192.168.7.5/24
    vfio 05:00.0
    exits 1 "a NIC with an address is refused"
    says "0000:05:00.0: eth3 is up and has the address 192.168.7.5/24" "interface and address are named"
    says "nothing was changed; --force" "the way round the refusal is named"
    same '' "$(writes)$(log modprobe)" "a refusal changes nothing"
    vfio --force 05:00.0
    exits 0 "a NIC with an address can be forced"
    says "192.168.7.5/24" "force does not keep silent about the address"
    same vfio-pci "$(driver 0000:05:00.0)" "the forced NIC is bound"

    new_machine
    has_address eth3 inet 192.168.7.5/24
    echo 0x1002 >"$SYSFS_ROOT/sys/class/net/eth3/flags"
    vfio 05:00.0
    exits 0 "an interface that is down may keep its address"
    new_machine
    has_address eth3 inet6 2001:db8::5/64
    vfio 05:00.0
    exits 1 "an IPv6 address counts"
    says 2001:db8::5/64 "the IPv6 address is named"
    new_machine
    has_address eth3 inet6 fe80::1/64
    vfio 05:00.0
    exits 0 "a link-local IPv6 address does not count"
    new_machine
    has_address eth1 inet 10.0.0.1/8
    vfio 04:00.0
    exits 1 "an address on the other port of the group counts"
    says "0000:04:00.1: eth1 is up and has the address 10.0.0.1/8" "the other port's address is named"
    same "ixgbe ixgbe " "$(drivers 0000:04:00.0 0000:04:00.1)" "neither port changes"

    new_machine
    interface br0 '' 0x1003
    mkdir "$SYSFS_ROOT/sys/class/net/eth3/upper_br0"
    has_address br0 inet 172.16.0.1/16
    vfio 05:00.0
    exits 1 "a bridge with an address counts"
    says "br0 (on top of eth3) is up and has the address 172.16.0.1/16" "the bridge and its address are named"

    new_machine
    route eth3 0000A8C0 0000FFFF
    vfio 05:00.0
    exits 0 "a NIC with a route that is not the default is fine"
    new_machine
    route eth3 00000000 00000000
    vfio 05:00.0
    exits 1 "a NIC with the IPv4 default route is refused"
    says "the default route goes through eth3" "the interface with the IPv4 default route is named"
    vfio 04:00.0
    exits 0 "another NIC's default route does not matter"
    new_machine
    zeros=00000000000000000000000000000000
    echo "$zeros 00 $zeros 00 fe800000000000000000000000000001 00000400 1 0 00000003 eth3" \
        >"$SYSFS_ROOT/proc/net/ipv6_route"
    vfio 05:00.0
    exits 1 "a NIC with the IPv6 default route is refused"
    says "the default route goes through eth3" "the interface with the IPv6 default route is named"

    new_machine
    echo 0x1003 >"$SYSFS_ROOT/sys/class/net/eth3/flags"
    vfio 05:00.0
    exits 0 "an interface that is up without an address is fine"
    new_machine
    echo 0x1003 >"$SYSFS_ROOT/sys/class/net/eth3/flags"
    mv "$bin/ip" "$bin/not_ip"
    vfio 05:00.0
    mv "$bin/not_ip" "$bin/ip"
    exits 1 "an interface that is up is refused where addresses cannot be read"
    says "eth3 is up; what addresses it has, only the missing program ip could tell" \
        "the missing program is named"
}

test_user() {
    new_machine
    vfio --user alice 05:00.0
    exits 0 "a user can be given a group"
    same "chown alice $SYSFS_ROOT/dev/vfio/15" "$(log chown)" "the group's device file changes owner"
    says "alice may open it" "it says who may open the group"
    says "ulimit -l" "it says how to see the locked-memory limit"
    says "/etc/security/limits.d" "it says where to raise the locked-memory limit"
    vfio --user alice 05:00.0 04:00.1
    exits 0 "a user can be given a group that is bound already, and another"
    same "chown alice $SYSFS_ROOT/dev/vfio/12" "$(log 'chown.*/12')" "the second group changes owner too"
    new_machine
    vfio --user bob 05:00.0
    exits 2 "an unknown user is refused"
    says "bob" "the unknown user is named"
    same '' "$(writes)" "an unknown user changes nothing"
    new_machine
    : >"$SYSFS_ROOT/no_chown"
    vfio --user alice 05:00.0
    exits 1 "it fails when the owner cannot be changed"
    says "/dev/vfio/15 cannot be given to alice" "it says who cannot be given what"
}

test_status() {
    new_machine
    TEST_UID=1000
    vfio --status
    exits 0 "vfio: --status works for everybody"
    says "0000:05:00.0  0x8086:0x10fb  driver ixgbe  IOMMU group 15  interface eth3" \
        "--status tells about a NIC"
    says "0000:04:00.1" "--status tells about every NIC"
    keeps_silent_about "0000:02:00.0" "--status does not tell about disks"
    vfio --status 04:00.0
    says "0000:04:00.1" "--status of a device tells about its group"
    keeps_silent_about "0000:05:00.0" "--status of a device tells about no other group"
    vfio --status 04:00.0 04:00.1
    same 1 "$(grep -c 0000:04:00.0 "$work/out")" "--status tells about a device once"
    TEST_UID=0
    vfio 05:00.0
    vfio --status 05:00.0
    says "driver vfio-pci  IOMMU group 15  /dev/vfio/15 of user" "--status tells about a bound NIC"
    rm "$pci/devices/0000:05:00.0/iommu_group"
    vfio --status 05:00.0
    exits 0 "--status works without IOMMU"
    says "no IOMMU group" "--status says that there is no IOMMU group"
    for action in '' --restore; do
        TEST_UID=1000
        : >"$SYSFS_ROOT/log"
        # shellcheck disable=SC2086 # no action is no argument
        vfio $action 04:00.0
        exits 1 "ordinary users cannot change drivers"
        says "only root" "it says that changing drivers needs root"
        same '' "$(writes)" "an ordinary user changes no driver"
    done
}

test_wrong_usage() {
    new_machine
    vfio --fast 05:00.0
    exits 2 "an unknown option is refused"
    says "--fast: no such option" "the unknown option is named"
    for wrong in 04:00 4:0.0 eth0 04:00.8 0000:04:00.0x 00004:00.0 ../04:00.0 '04:00.0 05:00.0' ''; do
        vfio "$wrong" 05:00.0
        exits 2 "a wrong address is refused"
        says "'$wrong': not a PCI address" "the wrong address is named"
    done
    vfio
    exits 2 "no address is refused"
    vfio --restore
    exits 2 "nothing to restore is refused"
    vfio --status --restore 05:00.0
    exits 2 "two actions at once are refused"
    vfio --restore --force 05:00.0
    exits 2 "an option that means nothing is refused"
    vfio 05:00.0 --user
    exits 2 "a missing user is refused"
    vfio 05:00.0 09:00.0
    exits 1 "a device that does not exist is refused"
    says "0000:09:00.0" "the device that does not exist is named"
    same '' "$(writes)" "wrong usage changes nothing"
    vfio --help
    exits 0 "setup-vfio.sh --help works"
    for option in --user --force --restore --status ADDRESS; do
        says "$option" "setup-vfio.sh --help tells all"
    done
}

test_failures() {
    new_machine
    : >"$SYSFS_ROOT/no_modules"
    vfio 05:00.0
    exits 1 "it fails without the vfio-pci module"
    says "CONFIG_VFIO_PCI" "it says what the kernel lacks"
    same '' "$(writes)" "without vfio-pci nothing is written"

    new_machine
    echo 0000:04:00.1/driver/unbind >"$SYSFS_ROOT/deny"
    vfio 04:00.0
    exits 1 "it fails when a driver does not let go"
    says "Device or resource busy" "the kernel's own words are passed on"
    says "0000:04:00.1: driver ixgbe does not let go" "device and driver are named"
    says "0000:04:00.0  0x8086:0x10fb  driver vfio-pci" "it says which device is bound half way"
    says "0000:04:00.1  0x8086:0x10fb  driver ixgbe" "it says which device is not bound half way"
    says "to go back: scripts/setup-vfio.sh --restore 0000:04:00.0" "it says how to go back"
    rm "$SYSFS_ROOT/deny"
    vfio --restore 0000:04:00.0
    exits 0 "going back from half way works"
    same "ixgbe ixgbe " "$(drivers 0000:04:00.0 0000:04:00.1)" "going back from half way restores all"
    same '(null)(null)' "$(cat "$pci/devices/0000:04:00.0/driver_override")$(cat \
        "$pci/devices/0000:04:00.1/driver_override")" "going back from half way clears the overrides"

    new_machine
    echo 0000:04:00.0/driver_override >"$SYSFS_ROOT/deny"
    vfio 04:00.0
    exits 1 "it fails when the override is turned down"
    same ixgbe "$(driver 0000:04:00.0)" "without override the driver keeps the device"

    new_machine
    echo drivers_probe >"$SYSFS_ROOT/deny"
    vfio 05:00.0
    exits 1 "it fails when the probe is turned down"
    says "0000:05:00.0: the kernel did not look for a driver" "it says that the probe was turned down"
    says "0000:05:00.0  0x8086:0x10fb  driver none" "it says that the device has no driver now"
    rm "$SYSFS_ROOT/deny"
    vfio 05:00.0
    exits 0 "after a failure the same command goes on"
    same vfio-pci "$(driver 0000:05:00.0)" "going on after a failure binds the device"

    new_machine
    echo drivers_probe >"$SYSFS_ROOT/ignore"
    vfio 05:00.0
    exits 1 "it fails when vfio-pci does not take the device"
    says "0000:05:00.0: vfio-pci did not take it" "it says that vfio-pci did not take the device"

    new_machine
    echo /driver/unbind >"$SYSFS_ROOT/stop"
    vfio 05:00.0
    exits 1 "it fails when interrupted"
    says "interrupted" "it says that it was interrupted"
    says "0000:05:00.0  0x8086:0x10fb  driver none" "it says how things stand when interrupted"
    says "to go back: " "it says how to go back when interrupted"

    new_machine
    vfio 05:00.0
    rmdir "$pci/drivers/ixgbe"
    vfio --restore 05:00.0
    exits 1 "restoring without a kernel driver fails"
    says "modprobe ixgbe" "it says which driver to load"

    new_machine
    vfio 05:00.0
    mkdir -p "$SYSFS_ROOT/proc/4711/fd"
    ln -s "$SYSFS_ROOT/dev/vfio/15" "$SYSFS_ROOT/proc/4711/fd/5"
    vfio --restore 05:00.0
    exits 1 "a NIC that a program drives is not taken from it"
    says "process 4711 has /dev/vfio/15 open" "the program that has the group open is named"
    same vfio-pci "$(driver 0000:05:00.0)" "the program keeps its NIC"

    new_machine
    vfio 05:00.0
    rm "$SYSFS_ROOT/dev/vfio/15"
    vfio 05:00.0
    exits 1 "it fails when the group's device file does not appear"
    says "/dev/vfio/15 is missing" "the missing device file is named"
}

build_machine
mv "$SYSFS_ROOT" "$work/as_built"
[ $# -gt 0 ] || set -- sh
for shell; do
    new_machine
    # shellcheck disable=SC2086 # "busybox ash" is two words
    if [ "$(PATH=$bin $shell -c 'id -u alice' 2>/dev/null)" != 1001 ]; then
        echo "skip - $shell: not installed, or prefers programs of its own to those in PATH"
        skipped=$((skipped + 1))
        continue
    fi
    test_hugepages
    test_bind
    test_group
    test_in_use
    test_user
    test_status
    test_wrong_usage
    test_failures
done

echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
