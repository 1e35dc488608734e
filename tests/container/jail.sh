#!/bin/sh
# As `docker run --read-only --tmpfs /tmp --user UID --cap-drop ALL --security-opt no-new-privileges` would, in a mount namespace:
#   unshare --mount --propagation private jail.sh VENV UID COMMAND...
# UID "same" stays who it is: the capabilities of a user namespace that has no other user.
set -eu
venv=$1 uid=$2
shift 2
mount --bind "$venv" /mnt
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /tmp
mkdir -p "$venv"
mount --bind /mnt "$venv"
umount /mnt
# Every mount but the kernel's own and /tmp itself.
cut -d ' ' -f 5 /proc/self/mountinfo | sort -u | while read -r at; do
    case $at in
    /tmp | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
    *) mount -o remount,bind,ro "$at" ;;
    esac
done
cd /tmp
case $uid in
same) exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all "$@" ;;
*) exec setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@" ;;
esac
