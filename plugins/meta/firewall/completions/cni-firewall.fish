# Completion of cni-firewall for fish. Made of the program's commands by: go test ./plugins/meta/firewall -update

function __cni_firewall_at
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

function __cni_firewall_in
    set -l words (commandline -opc)
    string match -q -- "$argv *" "$words[2..] "
end

complete -c cni-firewall -f
complete -c cni-firewall -n '__cni_firewall_at ' -a status -d 'list networks, and compare the kernel with the records'
complete -c cni-firewall -n '__cni_firewall_at ' -a explain -d 'say whether a connection gets through, and why not'
complete -c cni-firewall -n '__cni_firewall_at ' -a restore -d 'put all rules back after a flush, isolation first'
complete -c cni-firewall -n '__cni_firewall_at ' -a watch -d 'restore whenever others flush the rules, or a bridge is renamed'
complete -c cni-firewall -n '__cni_firewall_at ' -a drops -d 'count what the isolation dropped, by network'
complete -c cni-firewall -n '__cni_firewall_at ' -a retire -d 'leave the host to upstream\'s plugin, and nothing of this one'
complete -c cni-firewall -n '__cni_firewall_at ' -a config -d 'config check and others'
complete -c cni-firewall -n '__cni_firewall_at ' -a version -d 'print the version'
complete -c cni-firewall -n '__cni_firewall_at ' -a help -d 'explain a command'
complete -c cni-firewall -n '__cni_firewall_at config' -a check -d 'read /etc/cni-firewall/config.json'
complete -c cni-firewall -n '__cni_firewall_in status' -s o -l output -x -a 'table json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in status' -l graph -x -a 'mermaid dot' -d 'draw who reaches whom instead'
complete -c cni-firewall -n '__cni_firewall_in status' -l matrix -d 'print a table of who reaches whom instead'
complete -c cni-firewall -n '__cni_firewall_in status' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in status' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in explain' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in explain' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in explain' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in restore' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in restore' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in restore' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in watch' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in watch' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in watch' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in drops' -s o -l output -x -a 'table json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in drops' -s f -l follow -d 'print a line for each count that grows, until a signal ends it'
complete -c cni-firewall -n '__cni_firewall_in drops' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in drops' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in retire' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in retire' -l force -d 'go on all the same, and open what was named'
complete -c cni-firewall -n '__cni_firewall_in retire' -l data-dir -r -a '(__fish_complete_directories)' -d 'directory of the records, as dataDir in the conflist'
complete -c cni-firewall -n '__cni_firewall_in retire' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in config check' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in config check' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in version' -s o -l output -x -a 'text json' -d 'how to print it'
complete -c cni-firewall -n '__cni_firewall_in version' -s h -l help -d 'print this help'
complete -c cni-firewall -n '__cni_firewall_in help' -a status -d 'list networks, and compare the kernel with the records'
complete -c cni-firewall -n '__cni_firewall_in help' -a explain -d 'say whether a connection gets through, and why not'
complete -c cni-firewall -n '__cni_firewall_in help' -a restore -d 'put all rules back after a flush, isolation first'
complete -c cni-firewall -n '__cni_firewall_in help' -a watch -d 'restore whenever others flush the rules, or a bridge is renamed'
complete -c cni-firewall -n '__cni_firewall_in help' -a drops -d 'count what the isolation dropped, by network'
complete -c cni-firewall -n '__cni_firewall_in help' -a retire -d 'leave the host to upstream\'s plugin, and nothing of this one'
complete -c cni-firewall -n '__cni_firewall_in help' -a config -d 'config check and others'
complete -c cni-firewall -n '__cni_firewall_in help' -a version -d 'print the version'
complete -c cni-firewall -n '__cni_firewall_in help' -a help -d 'explain a command'
complete -c cni-firewall -n '__cni_firewall_in help' -s h -l help -d 'print this help'
