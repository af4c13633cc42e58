# Completion of cni-firewall for fish.

complete -c cni-firewall -f
complete -c cni-firewall -n __fish_use_subcommand -a status -d 'List networks and compare the kernel with the records'
complete -c cni-firewall -n __fish_use_subcommand -a restore -d 'Put all rules back after a flush'
complete -c cni-firewall -n __fish_use_subcommand -a watch -d 'Restore whenever others flush the rules, or a bridge is renamed'
complete -c cni-firewall -n __fish_use_subcommand -a retire -d 'Leave the host to upstream'\''s plugin'
complete -c cni-firewall -n __fish_use_subcommand -a help -d 'Print the commands'
complete -c cni-firewall -n '__fish_seen_subcommand_from status' -s o -x -a 'table json' -d 'Format'
complete -c cni-firewall -n '__fish_seen_subcommand_from status' -l graph -x -a 'mermaid dot' -d 'Draw who reaches whom'
complete -c cni-firewall -n '__fish_seen_subcommand_from restore' -l adopt -d 'Nothing more: restore adopts anyway'
complete -c cni-firewall -n '__fish_seen_subcommand_from retire' -l force -d 'Open what upstream cannot isolate'
complete -c cni-firewall -n '__fish_seen_subcommand_from status restore watch retire' -l data-dir -r -a '(__fish_complete_directories)' -d 'Directory of the records'
