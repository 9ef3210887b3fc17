# The command's first milliseconds, when it is run by name and not as `node livevmm.cjs`. build.mjs
# puts this text before the program, which node then takes for a comment. For `run` the VMM's node
# starts here, beside the one that reads the command line and is the private host: neither waits for
# the other's start. The VMM waits for its command line at a pipe (vmm/program/awaited-words.ts). It
# has the environment of platform/node-env.ts, and starts from the snapshot of the build if that is
# for this node (start-snapshot.ts). Without NODE_EXTRA_CA_CERTS every command starts sooner; `with`
# runs programs of others, which may need it.
program=$0
[ -h "$program" ] && program=$(readlink -f -- "$program")
[ "$1" = with ] || unset NODE_EXTRA_CA_CERTS
[ "$1" = run ] && [ -e /proc/self/fd/0 ] || exec node "$program" "$@"
for word do
  case $word in --host* | -host* | --help | -h) exec node "$program" "$@" ;; esac
done
# Shells give a here-document by a pipe; if this one does not, there is no head start.
exec 3<<END
END
[ -p /proc/self/fd/3 ] || exec node "$program" "$@"
# A second fd of the pipe, to write, is opened by its name. A background command gets no stdin.
exec 4>/proc/self/fd/3 5<&0
case $program in /*) ;; *) program=$PWD/${program#./} ;; esac
(
  dist=${program%/*} folder=
  if [ -z "$NODE_OPTIONS" ] && [ -r "$dist/vmm-start.key" ]; then
    { IFS= read -r folder; IFS= read -r addon; IFS= read -r stats; } <"$dist/vmm-start.key"
    set -- "$(command -v node)" "$dist/vmm-start.cjs" "$dist/vmm-start.blob"
    set -- $(LC_ALL=C stat -L -c '%d %i %s %Y %Z' "$@" 2>/dev/null)
  fi
  if [ "$folder" = "$dist" ] && [ -r "$addon" ] && [ "$*" = "$stats" ]; then
    set -- --no-rehash-snapshot --snapshot-blob "$dist/vmm-start.blob"
  else
    set --
  fi
  ours=${LIVEVMM_TUNABLES-none}
  if [ "${GLIBC_TUNABLES-$ours}" = "$ours" ]; then
    export LIVEVMM_TUNABLES=@TUNABLES@
    export GLIBC_TUNABLES=$LIVEVMM_TUNABLES
  fi
  exec node "$@" "$dist/vmm.cjs" --await 3 <&5 4>&- 5<&-
) &
shift
exec node "$program" run --awaiting "$!,4" "$@" 3<&- 5<&-
