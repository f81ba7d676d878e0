#!/usr/bin/env bash
# Installs the Debian packages that a make target needs, and says what for.
#
#   tools/install-deps.sh NAME...
#
# NAME is a group below; its entries are PACKAGE:WHY, or PACKAGE=PROGRAM:WHY for a package
# that is not needed where PROGRAM comes from elsewhere. As root missing packages are
# installed; without root the command to type is printed and the exit status is 1.
set -euo pipefail

declare -A group=(
  [test]="git:the-checks gcc:the-race-detector libc6-dev:the-race-detector curl:the-README util-linux:losetup fdisk:sfdisk dosfstools:mkfs.fat,fsck.fat mtools:mcopy e2fsprogs:mkfs.ext4,e2fsck gzip:gzip pigz:pigz tabix:bgzip xz-utils:xz zstd:zstd bzip2:bzip2 zopfli:zopfli libdeflate-tools:libdeflate-gzip python3:the-README python3-zeroconf:what-stations-announce qemu-system-arm:the-emulated-Pi dnsmasq-base:DHCP-and-TFTP device-tree-compiler:dtc cpio:cpio bmap-tools:bmaptool,a-peer-in-the-fault-matrix nftables:lossy-links iproute2:lossy-links"
  [bench]="curl:a-peer gzip:a-peer pigz:a-peer tabix:bgzip xz-utils:a-peer zstd:a-peer bmap-tools:a-peer e2fsprogs:mkfs.ext4 dosfstools:mkfs.fat util-linux:losetup iproute2:tc-tbf"
  [demo]="qemu-system-arm:the-emulated-Pi dnsmasq-base:DHCP-and-TFTP"
  [demo-user]="qemu-system-arm:the-emulated-Pi"
)
group[test]+=" prometheus:promtool nodejs=node:the-pages npm=npm:the-pages chromium:the-pages-in-a-browser fonts-dejavu-core:the-pages-in-a-browser"

missing=() why=()
for name in "$@"; do
  [[ -v group[$name] ]] || { echo "install-deps: no group $name (there are: ${!group[*]})" >&2; exit 2; }
  for entry in ${group[$name]}; do
    pkg=${entry%%:*} program=
    [[ $pkg != *=* ]] || { program=${pkg#*=} pkg=${pkg%%=*}; command -v "$program" >/dev/null && continue; }
    dpkg-query -W -f='${Status}' "$pkg" 2>/dev/null | grep -q 'install ok installed' && continue
    missing+=("$pkg") why+=("  $pkg (${entry#*:})")
  done
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "Debian packages needed:" >&2
printf '%s\n' "${why[@]}" >&2
if [[ $(id -u) -ne 0 ]]; then
  echo "Not root, so nothing was installed. Type:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing them with apt-get." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null >&2
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >&2
