#!/bin/sh
# Installs minik8s from the unpacked tarball, as root: install.sh [DESTDIR] (or by the variable of that name)
#
# Upgrades likewise: run it again. Settings that were changed stay. What is needed beside it: containerd, runc, the CNI plugins, iptables
# (`minik8s doctor` says what is missing).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${1:-${DESTDIR:-}}
cd "$here"

install -D -m 0755 minik8s "$root/usr/bin/minik8s.new"
mv "$root/usr/bin/minik8s.new" "$root/usr/bin/minik8s"
install -D -m 0644 minik8s.service "$root/usr/lib/systemd/system/minik8s.service"
install -D -m 0644 minik8s.conf "$root/usr/lib/sysusers.d/minik8s.conf"
install -d -m 0755 "$root/etc/minik8s" "$root/usr/share/man/man1" "$root/usr/share/doc/minik8s/examples"
[ -e "$root/etc/default/minik8s" ] || install -D -m 0644 minik8s.default "$root/etc/default/minik8s"
[ -e "$root/etc/minik8s/example.yaml.example" ] || install -m 0644 example.yaml.example "$root/etc/minik8s/"
install -m 0644 man/* "$root/usr/share/man/man1/"
install -D -m 0644 completions/minik8s.bash "$root/usr/share/bash-completion/completions/minik8s"
install -D -m 0644 completions/_minik8s "$root/usr/share/zsh/vendor-completions/_minik8s"
install -D -m 0644 completions/minik8s.fish "$root/usr/share/fish/vendor_completions.d/minik8s.fish"
install -m 0644 README.md CHANGELOG.md LICENSE "$root/usr/share/doc/minik8s/"
cp -r examples/. "$root/usr/share/doc/minik8s/examples/"
chmod -R u=rwX,go=rX "$root/usr/share/doc/minik8s/examples"

if [ -n "$root" ]; then exit 0; fi
getent group minik8s >/dev/null || groupadd --system minik8s
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # A Debian package that was removed before has left it masked.
    systemctl unmask minik8s
    systemctl enable minik8s
    # Containers run on.
    systemctl restart minik8s
fi
minik8s doctor || true
