// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// bashCompletion makes what bash completes by.
func bashCompletion(all []command) string {
	var b strings.Builder
	b.WriteString("# Completion of cni-firewall for bash. " + madeBy + `

_cni_firewall() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} offer=(-W '')
  case "${COMP_WORDS[*]:1:COMP_CWORD-1} " in
`)
	for _, before := range append([]string{""}, stems(all)...) {
		words, _ := choices(all, before)
		fmt.Fprintf(&b, "    '%s ') offer=(-W '%s') ;;\n", before, strings.Join(words, " "))
	}
	for _, c := range all {
		fmt.Fprintf(&b, "    '%s '*)\n      case $previous in\n", c.name)
		for _, o := range c.shown() {
			if o.value != "" {
				fmt.Fprintf(&b, "        %s) offer=(%s) ;;\n", strings.Join(o.spellings(), " | "), bashValues(o))
			}
		}
		fmt.Fprintf(&b, "        *) offer=(-W '%s') ;;\n      esac\n      ;;\n", strings.Join(bashWords(all, c), " "))
	}
	b.WriteString(`  esac
  mapfile -t COMPREPLY < <(compgen "${offer[@]}" -- "$current")
}

complete -F _cni_firewall cni-firewall
`)
	return b.String()
}

func bashWords(all []command, c command) []string {
	var words []string
	if c.takesCommands() {
		words, _ = choices(all, "")
	}
	for _, o := range c.shown() {
		words = append(words, o.spellings()...)
	}
	return words
}

func bashValues(o option) string {
	if o.value == directory {
		return "-d"
	}
	return "-W '" + strings.Join(o.accepted, " ") + "'"
}

// fishCompletion makes what fish completes by.
func fishCompletion(all []command) string {
	var b strings.Builder
	b.WriteString("# Completion of cni-firewall for fish. " + madeBy + `

function __cni_firewall_at
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

function __cni_firewall_in
    set -l words (commandline -opc)
    string match -q -- "$argv *" "$words[2..] "
end

complete -c cni-firewall -f
`)
	offer := func(condition, before string) {
		words, does := choices(all, before)
		for _, word := range words {
			fmt.Fprintf(&b, "complete -c cni-firewall -n %s -a %s -d %s\n", single(condition), word, fishQuoted(does[word]))
		}
	}
	for _, before := range append([]string{""}, stems(all)...) {
		offer("__cni_firewall_at "+before, before)
	}
	for _, c := range all {
		condition := "__cni_firewall_in " + c.name
		if c.takesCommands() {
			offer(condition, "")
		}
		for _, o := range c.shown() {
			fmt.Fprintf(&b, "complete -c cni-firewall -n %s%s -d %s\n", single(condition), fishFlag(o), fishQuoted(o.does))
		}
	}
	return b.String()
}

func fishFlag(o option) string {
	text := " -l " + o.name
	if o.short != "" {
		text = " -s " + o.short + text
	}
	switch {
	case o.value == directory:
		text += " -r -a '(__fish_complete_directories)'"
	case o.value != "":
		text += " -x -a '" + strings.Join(o.accepted, " ") + "'"
	}
	return text
}

// fishQuoted quotes a text for fish, which has another way for a quote in quotes.
func fishQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `\'`) + "'" }

// zshCompletion makes what zsh completes by.
func zshCompletion(all []command) string {
	var b strings.Builder
	b.WriteString("#compdef cni-firewall\n# Completion of cni-firewall for zsh. " + madeBy + `

_cni-firewall() {
  local -a commands
  case "${words[2,CURRENT-1]} " in
`)
	for _, before := range append([]string{""}, stems(all)...) {
		fmt.Fprintf(&b, "    '%s ')\n      commands=(\n", before)
		words, does := choices(all, before)
		for _, word := range words {
			fmt.Fprintf(&b, "        %s\n", single(word+":"+strings.ReplaceAll(does[word], ":", `\:`)))
		}
		b.WriteString("      )\n      _describe command commands\n      ;;\n")
	}
	for _, c := range all {
		depth := strings.Count(c.name, " ") + 1
		fmt.Fprintf(&b, "    '%s '*)\n      shift %d words\n      ((CURRENT -= %d))\n      _arguments", c.name, depth, depth)
		for _, o := range c.shown() {
			b.WriteString(" \\\n        " + zshFlag(o))
		}
		if c.takesCommands() {
			words, _ := choices(all, "")
			b.WriteString(" \\\n        " + single("*:command:("+strings.Join(words, " ")+")"))
		}
		b.WriteString("\n      ;;\n")
	}
	b.WriteString("  esac\n}\n\n_cni-firewall \"$@\"\n")
	return b.String()
}

func zshFlag(o option) string {
	text := "[" + strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(o.does) + "]"
	if o.value != "" {
		text += ":" + strings.ToLower(o.value) + ":" + zshValues(o)
	}
	if o.short != "" {
		return single("("+strings.Join(o.spellings(), " ")+")") + "{" + strings.Join(o.spellings(), ",") + "}" + single(text)
	}
	return single("--" + o.name + text)
}

func zshValues(o option) string {
	if o.value == directory {
		return "_directories"
	}
	return "(" + strings.Join(o.accepted, " ") + ")"
}
