# Completion of cni-firewall for bash.

_cni_firewall() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words=
  case $previous in
    -o) words='table json' ;;
    --graph) words='mermaid dot' ;;
    --data-dir)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    *)
      case ${COMP_CWORD}:${COMP_WORDS[1]} in
        1:*) words='status restore watch retire help' ;;
        *:status) words='-o --graph --data-dir' ;;
        *:restore) words='--adopt --data-dir' ;;
        *:watch) words='--data-dir' ;;
        *:retire) words='--force --data-dir' ;;
      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _cni_firewall cni-firewall
