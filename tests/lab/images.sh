#!/usr/bin/env bash
# Makes the demo's images from installed Debian packages and imports them: images.sh ADDRESS NAMESPACE
#
# OCI layouts written with tar, sha256sum and printf alone. No registry is asked: each image is pinned (io.cri-containerd.pinned), which
# is how imagePullPolicy Always knows not to look for a newer one.
#   docker.io/library/busybox:latest         busybox-static
#   docker.io/resouer/ubuntu-bc:latest       bc, its libraries, and busybox as the shell
#   k8s.gcr.io/fluentd-elasticsearch:1.20    a stand-in that watches /var/log, labelled as such
. "$(dirname "$0")/lab.sh"

ADDRESS=$1 NAMESPACE=$2
WORK=$(mktemp -d /var/tmp/minik8s-images.XXXXXX)
trap 'rm -rf "$WORK"' EXIT
case $(dpkg --print-architecture 2>/dev/null || uname -m) in
amd64 | x86_64) ARCH=amd64 ;;
arm64 | aarch64) ARCH=arm64 ;;
armhf) ARCH=arm ;;
*) ARCH=$(dpkg --print-architecture) ;;
esac

# A root file system with busybox under every name it answers to.
busybox_root() {
    mkdir -p "$1"/{bin,etc,tmp,proc,sys,dev,var/log,root}
    chmod 1777 "$1/tmp"
    cp "$(command -v busybox)" "$1/bin/busybox"
    local name
    for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "$1/bin/$name"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
    echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
}

# copy_program ROOT FILE: a dynamically linked program with the libraries that ldd names.
copy_program() {
    local lib
    install -D "$2" "$1$2"
    for lib in $(ldd "$2" | grep -o '/[^ ]*'); do install -D "$lib" "$1$lib"; done
}

# blob LAYOUT FILE: moves a file into the layout; prints its digest and size.
blob() {
    local digest size
    digest=$(sha256sum "$2" | cut -d' ' -f1)
    size=$(stat -c %s "$2")
    mv "$2" "$1/blobs/sha256/$digest"
    echo "sha256:$digest $size"
}

# image NAME ROOT CMD-JSON LABELS-JSON: writes an OCI layout with one uncompressed layer, imports it and pins it.
image() {
    local name=$1 root=$2 cmd=$3 labels=$4 layout layer layer_size config config_size manifest manifest_size
    layout=$WORK/layout
    mkdir -p "$layout/blobs/sha256"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$WORK/layer" .
    read -r layer layer_size <<<"$(blob "$layout" "$WORK/layer")"
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":%s,"Labels":%s},"rootfs":{"type":"layers","diff_ids":["%s"]}}' \
        "$ARCH" "$cmd" "$labels" "$layer" >"$WORK/config"
    read -r config config_size <<<"$(blob "$layout" "$WORK/config")"
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%s}],"annotations":%s}' \
        "$config" "$config_size" "$layer" "$layer_size" "$labels" >"$WORK/manifest"
    read -r manifest manifest_size <<<"$(blob "$layout" "$WORK/manifest")"
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"io.containerd.image.name":"%s"}}]}' \
        "$manifest" "$manifest_size" "$ARCH" "$name" >"$layout/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    tar -C "$layout" -cf "$WORK/image.tar" .
    lab_ctr images import "$WORK/image.tar" >/dev/null
    lab_ctr images label "$name" io.cri-containerd.pinned=pinned >/dev/null
    rm -rf "$layout" "$WORK/image.tar"
    note "$name"
}

need_packages busybox=busybox-static bc=bc
# A busybox that needs libraries would not run alone.
if ldd "$(command -v busybox)" >/dev/null 2>&1; then die "busybox is not the static one; apt-get install busybox-static"; fi

busybox_root "$WORK/busybox"
image docker.io/library/busybox:latest "$WORK/busybox" '["sh"]' '{}'

busybox_root "$WORK/bc"
rm -f "$WORK/bc/bin/bc"
copy_program "$WORK/bc" "$(readlink -f "$(command -v bc)")"
image docker.io/resouer/ubuntu-bc:latest "$WORK/bc" '["sh"]' '{"org.opencontainers.image.description":"bc from Debian, with busybox as the shell"}'

busybox_root "$WORK/fluentd"
cat >"$WORK/fluentd/run.sh" <<'SH'
#!/bin/sh
# A stand-in for fluentd: says every few seconds which logs under /var/log grew and by how many lines. It passes over its own log, and
# prints no contents: what it prints is itself logged under /var/log.
trap 'echo "stopping"; exit 0' TERM INT
echo "stand-in for fluentd-elasticsearch: watching /var/log"
touch /tmp/seen
while :; do
    find /var/log -follow -type f -name '*.log' 2>/dev/null | grep -v fluentd-elasticsearch | head -n 500 | while read -r file; do
        lines=$(wc -l <"$file" 2>/dev/null) || continue
        before=$(grep -F "$file " /tmp/seen | tail -n 1 | sed 's/.* //')
        [ "$lines" = "${before:-0}" ] || echo "$file: $((lines - ${before:-0})) new lines"
        echo "$file $lines"
    done >/tmp/round
    grep ' new lines$' /tmp/round
    grep -v ' new lines$' /tmp/round >/tmp/seen
    sleep 5 &
    wait $!
done
SH
chmod 755 "$WORK/fluentd/run.sh"
image k8s.gcr.io/fluentd-elasticsearch:1.20 "$WORK/fluentd" '["/bin/sh","/run.sh"]' \
    '{"io.minik8s.stand-in":"true","org.opencontainers.image.description":"A stand-in for fluentd-elasticsearch: a shell script that watches /var/log"}'
