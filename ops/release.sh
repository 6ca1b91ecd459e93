#!/usr/bin/env bash
# Makes out/release/stegomq-VERSION-linux-ARCH.tar.gz of the checked-out commit, and its SHA-256: the program, the models, the lock file of the
# ONNX Runtime library, a bill of materials (CycloneDX) and the licences of all dependencies. The archive is built twice, the second time in
# another folder and from an empty build cache, and both must be equal byte for byte.
#
#   ops/release.sh VERSION        for example 0.1.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${1:?which version? For instance 0.1.0}
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then echo "$version: a version has three numbers, as 0.1.0" >&2; exit 2; fi
if ! grep -q "^## $version" CHANGELOG.md; then echo "CHANGELOG.md has no heading \"## $version\"" >&2; exit 2; fi
if [[ -n $(git status --porcelain) ]]; then echo "commit or stash what was changed: a release is of a commit" >&2; exit 2; fi

tools=$PWD/.bin
# Later changes of the messages are compared with the messages of this release.
if ! "$tools/buf" build schemas --exclude-source-info -o - | cmp -s - schemas/released.binpb; then
  echo "schemas/released.binpb has other messages: run make released, and commit it with the release" >&2; exit 2
fi
name=stegomq-$version-linux-$(go env GOARCH)
revision=$(git rev-parse HEAD)
epoch=$(git log -1 --format=%ct)
made=$(mktemp -d)
trap 'chmod -R u+w "$made" && rm -rf "$made"' EXIT

licences() { # FOLDER: the licence files of every module that the program links
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/stegomq | sort -u | while read -r path version dir; do
    mkdir -p "$1/$path@$version"
    find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'copyright*' -o -iname 'patents*' -o -iname 'unlicense*' \) \
      -exec cp -t "$1/$path@$version" {} +
    if [[ -z $(ls "$1/$path@$version") ]]; then echo "$path $version has no file with its licence" >&2; exit 1; fi
  done
  mkdir -p "$1/go" && cp "$(go env GOROOT)/LICENSE" "$1/go/"
}

build() ( # SOURCE OUT.tar.gz
  cd "$1"
  stage=$made/stage/$name
  rm -rf "$made/stage" && mkdir -p "$stage/ops/assets"
  go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version -X main.revision=$revision" -o "$stage/stegomq" ./cmd/stegomq
  "$tools/cyclonedx-gomod" app -json -licenses -noserial -notimestamp -output-version 1.5 -output "$stage/sbom.cdx.json" -main cmd/stegomq .
  licences "$stage/licences"
  cp -r LICENSE README.md CHANGELOG.md SECURITY.md models "$stage/"
  cp ops/assets/fetch.py ops/assets/lock.json "$stage/ops/assets/"
  chmod -R u=rwX,go=rX "$stage"
  tar --sort=name --format=gnu --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$made/stage" -cf - "$name" | gzip -n -9 >"$2"
)

build . "$made/first.tar.gz"
git clone --quiet . "$made/elsewhere"
git -C "$made/elsewhere" checkout --quiet --detach "$revision"
GOCACHE=$made/cache build "$made/elsewhere" "$made/second.tar.gz"
cmp "$made/first.tar.gz" "$made/second.tar.gz"
mkdir -p out/release && mv "$made/first.tar.gz" "out/release/$name.tar.gz"
(cd out/release && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
