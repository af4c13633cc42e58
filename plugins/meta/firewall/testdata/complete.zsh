# Types each argument but the first, and a tab, into an interactive zsh that has completion functions of the directory that the
# first names, and prints what its command line then is. What zsh echoes holds no {42}.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1= RPS1=; fpath=('${(q)1}' $fpath); autoload -U compinit; compinit -u -D'
zpty -w shell 'show() { print -r -- "{$BUFFER}"; BUFFER=; zle accept-line }; zle -N show; bindkey "^X" show; print -r -- {$((6 * 7))}'
zpty -r shell output '*{42}*'
for typed in ${argv[2,-1]}; do
  zpty -w -n shell $typed$'\t\C-X'
  zpty -r shell output '*{*}*'
  print -r -- ${${output##*\{}%%\}*}
done
zpty -d shell
