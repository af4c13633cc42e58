# Completion of cni-firewall for bash. Made of the program's commands by: go test ./plugins/meta/firewall -update

_cni_firewall() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} offer=(-W '')
  case "${COMP_WORDS[*]:1:COMP_CWORD-1} " in
    ' ') offer=(-W 'status explain restore watch drops retire config version help') ;;
    'config ') offer=(-W 'check') ;;
    'status '*)
      case $previous in
        -o | --output) offer=(-W 'table json') ;;
        --graph) offer=(-W 'mermaid dot') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output --graph --matrix --data-dir -h --help') ;;
      esac
      ;;
    'explain '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output --data-dir -h --help') ;;
      esac
      ;;
    'restore '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output --data-dir -h --help') ;;
      esac
      ;;
    'watch '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output --data-dir -h --help') ;;
      esac
      ;;
    'drops '*)
      case $previous in
        -o | --output) offer=(-W 'table json') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output -f --follow --data-dir -h --help') ;;
      esac
      ;;
    'retire '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        --data-dir) offer=(-d) ;;
        *) offer=(-W '-o --output --force --data-dir -h --help') ;;
      esac
      ;;
    'config check '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        *) offer=(-W '-o --output -h --help') ;;
      esac
      ;;
    'version '*)
      case $previous in
        -o | --output) offer=(-W 'text json') ;;
        *) offer=(-W '-o --output -h --help') ;;
      esac
      ;;
    'help '*)
      case $previous in
        *) offer=(-W 'status explain restore watch drops retire config version help -h --help') ;;
      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen "${offer[@]}" -- "$current")
}

complete -F _cni_firewall cni-firewall
