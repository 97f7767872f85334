#!/usr/bin/env bash
# Make the Debian package of curier from its wheel:
#
#   packaging/debian/build.sh build/wheel/curier-*.whl dist
#
# The package brings curier and what it needs in a virtual environment of its own, /usr/lib/curier, so that nothing
# else on the machine changes; it is for the release of Debian or Ubuntu that it is made on, whose Python it uses.
set -euo pipefail
wheel=$(realpath "${1:?the wheel}")
mkdir -p "${2:?where the package goes}"
target=$(realpath "$2")
here=$(cd "$(dirname "$0")/.." && pwd)
python=/usr/bin/python3

command -v dpkg-deb >/dev/null || { echo "dpkg-deb is needed here, as Debian and Ubuntu have it"; exit 1; }
$python -c 'import ensurepip, venv' || { echo "apt-get install python3-venv"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/usr/{bin,lib,share/{man/man1,doc/curier}} "$root/etc/curier" "$root/DEBIAN"
chmod 755 "$work" "$root"

# -- the program --
$python -m venv "$work/tools"
$python -m venv --without-pip "$root/usr/lib/curier"
"$work/tools/bin/python" -m pip --python "$root/usr/lib/curier/bin/python" install --quiet --no-compile "$wheel[full]"
cd "$root/usr/lib/curier"
find bin -mindepth 1 ! -name 'python*' ! -name curier -delete
sed -i '1s|.*|#!/usr/lib/curier/bin/python3|' bin/curier
sed -i '/^command = /d' pyvenv.cfg
ln -s ../lib/curier/bin/curier "$root/usr/bin/curier"
curier="bin/python -m curier"

# -- what belongs to it --
$curier config init >"$root/etc/curier/broker.toml"
$curier man "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*
completions=("bash bash-completion/completions/curier" "zsh zsh/vendor-completions/_curier"
    "fish fish/vendor_completions.d/curier.fish")
for one in "${completions[@]}"; do
    file=$root/usr/share/${one#* }
    mkdir -p "$(dirname "$file")"
    $curier completion "${one%% *}" >"$file"
done
install -Dm644 -t "$root/lib/systemd/system" "$here"/systemd/curier.{service,socket}
install -Dm644 "$here/systemd/curier.sysusers" "$root/usr/lib/sysusers.d/curier.conf"
install -Dm644 "$here/systemd/curier.tmpfiles" "$root/usr/lib/tmpfiles.d/curier.conf"
install -Dm644 "$here/../LICENSE" "$root/usr/share/doc/curier/copyright"
find . -name __pycache__ -prune -exec rm -rf {} +
bin/python -m compileall -q -s "$root" -p / lib

# -- what dpkg has to know --
version=$($curier --version | awk '{print $NF}')
minor=$($python -c 'import sys; print(sys.version_info.minor)')
cat >"$root/DEBIAN/control" <<END
Package: curier
Version: $version-1
Architecture: $(dpkg --print-architecture)
Maintainer: The curier authors
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: python3 (>= 3.$minor), python3 (<< 3.$((minor + 1))), libc6 (>= $(ldd --version | awk 'NR == 1 {print $NF}')), systemd | systemd-standalone-sysusers
Section: net
Priority: optional
Description: MQTT for Python: a broker, a client library and a command line
 A broker for MQTT 3.1, 3.1.1 and 5.0 whose acknowledgements are promises, with
 a window onto the wire; commands to publish, to subscribe and to look on.
END
echo /etc/curier/broker.toml >"$root/DEBIAN/conffiles"
install -m755 "$here"/debian/{postinst,prerm,postrm} "$root/DEBIAN"
dpkg-deb --root-owner-group -Zxz --build "$root" "$target" | sed 's/^dpkg-deb: //'
