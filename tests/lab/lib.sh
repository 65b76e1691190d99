# SPDX-License-Identifier: MIT
# Shared by the scripts of tests/lab: where things are kept, and how Debian's packages get there. Source it from bash.
#
# The cache is ${KITE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/kite}/lab. A directory in it appears whole (by rename) or not at all, is named
# after the package and version that it holds, and is only read afterwards; so any number of labs may use it at once.

lab_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
lab_cache=${KITE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kite}/lab
lab_apt=() # options for apt-get and apt-cache
PATH=$PATH:/usr/sbin:/sbin # modprobe and depmod, for users who are not root

# lab_die TEXT: the machinery failed, which is never a test's result.
lab_die() {
	echo "${0##*/}: $*" >&2
	exit 125
}

# lab_need PROGRAM...: programs that must be there.
lab_need() {
	local p
	for p; do
		command -v "$p" >/dev/null || lab_die "$p is not installed: run tools/deps test"
	done
}

# Sets `busybox` to a busybox that runs in an empty root.
lab_busybox() {
	busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1 || lab_die 'busybox-static is not installed: run tools/deps test'
}

# lab_modules ROOT KERNEL ORDER MODULES: puts the files of MODULES and what they need where guest-init looks for them, and in ORDER
# their names as they are to be loaded.
lab_modules() {
	local release dir module file
	release=$(cat "$2/release")
	dir=$1/modules/$release
	mkdir -p "$dir"
	for module in $4; do
		modprobe -d "$2" -S "$release" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' | while read -r file; do
		cp "$file" "$dir/"
		basename "$file" >>"$dir/$3"
	done
}

# Debian's own package lists. On other systems (Ubuntu) or where KITE_LAB_APT=private: lists of our own, verified with Debian's keys.
lab_apt_setup() {
	local d=$lab_cache/apt id
	[ ${#lab_apt[@]} -eq 0 ] || return 0
	id=$(. /etc/os-release && echo "$ID")
	if [ "$id" = debian ] && [ "${KITE_LAB_APT:-}" != private ]; then
		lab_apt=(-o APT::Architecture=amd64)
		return
	fi
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || lab_die 'no keys of Debian: run tools/deps test'
	mkdir -p "$d"/{lists,archives,etc}
	echo 'deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' \
		>"$d/etc/sources.list"
	lab_apt=(-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o "Dir::State::lists=$d/lists" -o "Dir::Cache=$d"
		-o "Dir::Cache::archives=$d/archives" -o "Dir::Etc::sourcelist=$d/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o "Dir::State::status=/dev/null" -o APT::Sandbox::User=root -o Debug::NoLocking=1)
	[ -n "$(find "$d/lists" -name '*_Packages*' -mtime -7 2>/dev/null)" ] ||
		apt-get "${lab_apt[@]}" -o Acquire::Retries=5 -qq update >&2 || lab_die "cannot fetch Debian's package lists"
}

# lab_package NAME PATH...: sets `package` to the directory that holds the files PATH (patterns, from the root on, without the first slash) of Debian's
# package NAME. Asks apt only when its lists are newer than what is there.
lab_package() {
	local name=$1 link version dir lock
	shift
	link=$lab_cache/package-$name-$(sha256sum <<<"$*" | cut -c 1-8)
	if ! [ -e "$link/used" ] || [ /var/lib/apt/lists -nt "$link/used" ]; then
		lab_need apt-get apt-cache dpkg-deb tar
		mkdir -p "$lab_cache"
		exec {lock}>"$lab_cache/lock"
		flock "$lock"
		lab_apt_setup
		version=$(apt-cache "${lab_apt[@]}" show --no-all-versions "$name" 2>/dev/null | awk '/^Version:/ && !n++ { print $2 }')
		[ -n "$version" ] || [ -e "$link/used" ] || lab_die "apt does not know $name: run apt-get update"
		dir=${link##*/}_$version
		[ -z "$version" ] || [ -e "$lab_cache/$dir" ] || lab_package_fetch "$name=$version" "$lab_cache/$dir" "$@"
		[ -z "$version" ] || ln -sfnT "$dir" "$link"
		touch "$link/used"
		lab_forget
		exec {lock}>&-
	fi
	package=$(realpath "$link")
}

# lab_package_fetch PACKAGE=VERSION DIR PATH...
lab_package_fetch() {
	local what=$1 dir=$2 tmp
	shift 2
	echo "${0##*/}: fetching $what" >&2
	tmp=$(mktemp -d "$lab_cache/tmp.XXXXXX")
	# shellcheck disable=SC2064 # the name of now is meant
	trap "rm -rf '$tmp'" EXIT
	(
		set -e
		cd "$tmp"
		mkdir deb out
		cd deb
		apt-get "${lab_apt[@]}" -o Acquire::Retries=5 -qq download "$what" >../log 2>&1 || { cat ../log >&2; exit 1; }
		dpkg-deb --fsys-tarfile ./*.deb | tar -C ../out -x --no-same-owner --wildcards "${@/#/./}"
	) || lab_die "cannot fetch or unpack $what"
	mv -T "$tmp/out" "$dir"
	rm -rf "$tmp"
	trap - EXIT
}

# Removes versions that nothing has used for two weeks.
lab_forget() {
	find "$lab_cache" -maxdepth 2 -path '*_*/used' -mtime +14 -printf '%h\0' | xargs -0r rm -rf
}

# lab_kernel META: sets `kernel` to the directory that holds the kernel behind Debian's metapackage META (linux-image-amd64, ...):
#   vmlinuz           the bzImage
#   vmlinux           what is packed in it
#   vmlinux-nonote    the same without its PVH note
#   vmlinuz-opaque    a bzImage that only the kernel's own code can unpack
#   release           what uname -r says
#   lib/modules/...   its modules, with modprobe's indexes
# Asks apt only when its lists are newer than what is there.
lab_kernel() {
	local meta=$1 link=$lab_cache/$1
	if [ -e "$link/release" ] && ! [ /var/lib/apt/lists -nt "$link/used" ]; then
		kernel=$(realpath "$link")
		return
	fi
	mkdir -p "$lab_cache"
	local lock
	exec {lock}>"$lab_cache/lock"
	flock "$lock"
	lab_kernel_update "$meta" "$link"
	exec {lock}>&-
	kernel=$(realpath "$link")
}

# The slow half of lab_kernel, under the lock. What is there already serves when apt has no lists.
lab_kernel_update() {
	local meta=$1 link=$2 image version dir
	lab_need apt-get apt-cache dpkg-deb depmod lz4 xz python3
	lab_apt_setup
	image=$(apt-cache "${lab_apt[@]}" depends "$meta" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
	[ -z "$image" ] || version=$(apt-cache "${lab_apt[@]}" show --no-all-versions "$image" | awk '/^Version:/ && !n++ { print $2 }')
	if [ -z "$image" ] || [ -z "$version" ]; then
		[ -e "$link/release" ] || lab_die "apt does not know $meta: run apt-get update"
		touch "$link/used"
		return
	fi
	dir=${image}_$version
	[ -e "$lab_cache/$dir" ] || lab_kernel_fetch "$image=$version" "$lab_cache/$dir"
	touch "$lab_cache/$dir/used"
	ln -sfnT "$dir" "$link"
	lab_forget
}

# lab_kernel_fetch PACKAGE=VERSION DIR
lab_kernel_fetch() {
	local tmp
	echo "${0##*/}: fetching $1" >&2
	tmp=$(mktemp -d "$lab_cache/tmp.XXXXXX")
	# shellcheck disable=SC2064 # the name of now is meant
	trap "rm -rf '$tmp'" EXIT
	(
		set -e
		cd "$tmp"
		mkdir deb x out
		cd deb
		apt-get "${lab_apt[@]}" -o Acquire::Retries=5 -qq download "$1" >../log 2>&1 || { cat ../log >&2; exit 1; }
		dpkg-deb -x ./*.deb ../x
		cd ../x
		[ -d lib/modules ] || ln -s usr/lib lib
		release=$(ls lib/modules)
		depmod -b . "$release"
		mkdir ../out/lib
		mv lib/modules ../out/lib/
		mv "boot/vmlinuz-$release" ../out/vmlinuz
		chmod 644 ../out/vmlinuz
		echo "$release" >../out/release
		"$lab_dir/vmlinux" ../out
	) || lab_die "cannot fetch or unpack $1"
	mv -T "$tmp/out" "$2"
	rm -rf "$tmp"
	trap - EXIT
}
