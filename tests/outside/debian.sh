# shellcheck shell=bash
# Sources of Debian packages, which hold their tests. Sourced after compare.sh; the machine's own package lists stay as they are.

debian_source() { # package, its folder: what the authors released is unpacked into that
  local package=$1 folder=$2 at site suite version parts
  mkdir -p "$CACHE"/{parts,lists/partial,"archives/$package"}
  at=$(realpath "$CACHE") parts=$(realpath "$CACHE/archives/$package")
  # From where this machine's packages come.
  while read -r site suite; do
    printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' "$site" "$suite"
  done < <(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | sort -u) >"$at/parts/debian.sources"
  local apt=(-q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$at/parts" -o "Dir::State::lists=$at/lists" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update >/dev/null
  # The newest in the archive; a mirror may lack the tarball of the very newest.
  for version in $(apt-cache "${apt[@]:1}" showsrc "$package" | sed -n 's/^Version: //p' | sort -rV); do
    (cd "$parts" && apt-get "${apt[@]}" source --download-only "$package=$version" >/dev/null 2>&1) && break
  done
  rm -rf "$folder.part"
  mkdir -p "$folder.part"
  tar -xf "$(find "$parts" -name '*.orig.tar.*' ! -name '*.asc' | sort -V | tail -n 1)" -C "$folder.part" --strip-components=1
  mv "$folder.part" "$folder"
}
