# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Completion of xfrmctl(8) in bash (4.4 or newer). The package bash-completion loads this file at the first TAB behind
# `xfrmctl`; without it, `source` this file: nothing here needs that package, but only with it the arguments of COMMAND
# in `wait --exec -- COMMAND` are completed as that command's, and not as file names.
#
# Verbs and options are those of `xfrmctl --help` and `xfrmctl VERB --help`. Nothing here writes to standard error, and
# what the kernel holds is read with `xfrmctl flush --dry-run --json` alone.
#
# Variables of _xfrmctl() that the functions it calls use: words, first, current, kept, seen, program, verb, help,
# netns.

# Fills `words` with the line up to the cursor, and `first` with where each starts in COMP_WORDS. bash splits at every
# character of COMP_WORDBREAKS, so that `--match=spi` is three of its words; what has no blank between is one of ours.
_xfrmctl_split()
{
	local rest=$COMP_LINE blanks piece before='' offset=0 beyond i

	words=()
	first=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		piece=${COMP_WORDS[i]-}
		blanks=${rest%%[![:blank:]]*}
		rest=${rest#"$blanks"}
		rest=${rest#"$piece"}
		((offset += ${#blanks} + ${#piece}))
		# The cursor may be inside a word: what is behind it does not count.
		beyond=$((offset - COMP_POINT))
		if ((i == COMP_CWORD && beyond > 0)); then
			((beyond <= ${#piece})) || beyond=${#piece}
			piece=${piece:0:${#piece}-beyond}
		fi
		if [[ $i == 0 || $blanks || $piece == ['<>|&;(']* || $before == *['<>|&;('] ]]; then
			words+=("$piece")
			first+=("$i")
		else
			words[-1]+=$piece
		fi
		before=$piece
	done
}

# Takes the quotes off the word at the cursor. `kept` is how much of it readline leaves in place: it replaces what is
# behind an open quote, or the last character of COMP_WORDBREAKS, and completions begin there; with that character
# if it is @, one of readline's special prefixes.
_xfrmctl_unquote()
{
	local word=$1 quote='' character i

	current=
	kept=0
	for ((i = 0; i < ${#word}; i++)); do
		character=${word:i:1}
		if [[ ! $quote && $character == [\"\'] ]]; then
			quote=$character
			kept=${#current}
		elif [[ $character == "$quote" ]]; then
			quote=
		elif [[ $character == \\ && $quote != \' ]]; then
			((++i))
			current+=${word:i:1}
		else
			[[ $quote || $character != @ || $COMP_WORDBREAKS != *@* ]] || kept=${#current}
			current+=$character
			[[ $quote || $character == @ || $COMP_WORDBREAKS != *"$character"* ]] || kept=${#current}
		fi
	done
}

# Offers those of the words that begin with what is there.
_xfrmctl_offer()
{
	local word

	for word; do
		[[ $word == "$current"* && ! ${seen[$word]-} ]] || continue
		seen[$word]=1
		COMPREPLY+=("${word:kept}")
	done
}

# Reads into `help`, once for each verb, what the help lists: verbs or steps of `service`, and options such as --hold
# and --match=; those with a value that can be left out as --routes and --routes=.
_xfrmctl_read_help()
{
	# The PATH of sudo has these, that of a user need not.
	local PATH=$PATH:/usr/local/sbin:/usr/sbin

	[[ ! $help ]] || return 0
	type -P -- "$program" >/dev/null && help=$("$program" ${verb:+"$verb"} --help </dev/null | sed -nE '
		s/^  (-., )?(--[a-z-]+)\[=.*/\2 \2=/p; t
		s/^  (-., )?(--[a-z-]+=).*/\2/p; t
		s/^  (-., )?([a-z-]+) .*/\2/p')
	help=" ${help//$'\n'/ } "
}

# Whether the verb takes this option; without a help to read, any.
_xfrmctl_takes()
{
	_xfrmctl_read_help
	[[ $help == *" $1 "* || $help == '  ' ]]
}

# The values of a key in the kernel, of the entries that the rest of the expression holds for. `flush --dry-run --json`
# has an entry a line, without blanks, and in its strings every quote is escaped: "KEY": is always a key. No more than
# some hundred entries are read, and nothing when no netlink socket of XFRM (6) is there: asking would load the module.
_xfrmctl_in_kernel()
{
	local key=$1 terms=$2 pattern part='' scope
	local -a scopes=(policies states) selection=()

	[[ $netns$terms != *[!A-Za-z0-9_.,:/=@+-]* ]] || return 0
	[[ ! $netns ]] || selection+=("--netns=$netns")
	selection+=(flush --dry-run --json)
	[[ ! $terms ]] || selection+=("--match=$terms")

	case $key in
	reqid) pattern='"reqid":[1-9][0-9]*' ;;
	mark) pattern='"mark":\{"value":[0-9]+,"mask":[0-9]+' ;;
	if-id) pattern='"if_id":[0-9]+' ;;
	priority) pattern='"priority":[0-9]+' scopes=(policies) ;;
	spi) pattern='"spi":[0-9]+' scopes=(states) ;;
	# Of an SA the end points are its own, of a policy those of its templates.
	peer) pattern='"(src|dst)":"[^"]*"' part='s/"selector":\{[^}]*\}//; s/.*"templates":(\[[^]]*\]).*/\1/' ;;
	# The selector of an SA is empty or says no family; no prefix holds for it.
	src | dst) pattern="\"$key\":\"[^\"]*\"" part='s/"templates":\[[^]]*\]//' scopes=(policies) ;;
	*) return 0 ;;
	esac

	type -P -- "$program" >/dev/null && grep -Eq '^[0-9a-f]+ +6 ' /proc/net/netlink || return 0
	for scope in "${scopes[@]}"; do
		"$program" "${selection[@]}" "--$scope-only" </dev/null | head -n 300
	done | sed -E "$part" | grep -Eo "$pattern" | sort -u | while IFS= read -r part; do
		case $key in
		mark)
			part=${part#*\"value\":}
			printf '0x%x/0x%x\n' "${part%%,*}" "${part##*:}"
			;;
		spi) printf '0x%08x\n' "${part##*:}" ;;
		peer | src | dst)
			part=${part#*:\"}
			part=${part%\"}
			# Without an address: the end points of a template in transport mode.
			[[ $key == peer && ($part == 0.0.0.0 || $part == ::) ]] || echo "$part"
			;;
		*) echo "${part##*:}" ;;
		esac
	done
}

# KEY=VALUE[,KEY=VALUE...]; $1 is what the word has before it.
_xfrmctl_expression()
{
	local before=$1 expression=${current#"$1"} terms='' used=, key term values
	local -a offers=()

	if [[ $expression == *,* ]]; then
		terms=${expression%,*}
		before+=$terms,
		while IFS= read -r -d , term; do
			used+=${term%%=*},
		done <<<"$terms,"
	fi
	term=${expression##*,}
	if [[ $term != *=* ]]; then
		for key in proto reqid mark if-id dir ptype src dst peer priority spi; do
			# No entry has both: SAs have an SPI, policies the others.
			case $key:$used in
			*:*,"$key",* | spi:*,dir,* | spi:*,ptype,* | spi:*,priority,* | dir:*,spi,* | ptype:*,spi,* | priority:*,spi,*) ;;
			*) offers+=("$before$key=") ;;
			esac
		done
	else
		key=${term%%=*}
		case $key in
		proto) values='esp ah comp' ;;
		dir) values='in out fwd' ;;
		ptype) values='main sub' ;;
		*) values=$(_xfrmctl_in_kernel "$key" "$terms") ;;
		esac
		for term in $values; do
			offers+=("$before$key=$term")
		done
	fi
	_xfrmctl_offer ${offers[@]+"${offers[@]}"}
	# The expression may continue, unless it was complete before.
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} == "${current:kept}" ]] || compopt -o nospace
}

_xfrmctl_files()
{
	local before=$1 file
	local -a files=()

	while IFS= read -r file; do
		[[ ! -d $file || $file == */ ]] || file+=/
		files+=("$before$file")
	done < <(compgen -f -- "${current#"$before"}")
	compopt -o filenames
	_xfrmctl_offer ${files[@]+"${files[@]}"}
}

# Services, as files and not as systemd has them: there may be no systemd to ask. Of a template its instances for those.
_xfrmctl_services()
{
	local before=$1 value=${current#"$1"} folder unit
	local -a units=()

	for folder in /etc /run /usr/local/lib /usr/lib /lib; do
		for unit in "$folder"/systemd/system/*.service; do
			[[ -e $unit ]] || continue
			unit=${unit##*/}
			case $value:$unit in
			*@*:*@.service) ;;
			*@*:*) units+=("$before${value%%@*}@$unit") ;;
			*@.service) units+=("$before${unit%.service}") ;;
			*) units+=("$before$unit") ;;
			esac
		done
	done
	_xfrmctl_offer "${units[@]}"
}

_xfrmctl_namespaces()
{
	local before=$1 name
	local -a names=()

	if [[ ${current#"$before"} == */* ]]; then
		_xfrmctl_files "$before"
		return
	fi
	for name in /run/netns/*; do
		[[ ! -e $name ]] || names+=("$before${name##*/}")
	done
	_xfrmctl_offer ${names[@]+"${names[@]}"}
}

# The value of an option; $2 is what the word has before it.
_xfrmctl_value()
{
	local before=$2

	case $1 in
	--netns) _xfrmctl_namespaces "$before" ;;
	--match | --exclude) _xfrmctl_expression "$before" ;;
	--mode) _xfrmctl_offer "$before"{auto,hold,handover,flush} ;;
	--unit) _xfrmctl_services "$before" ;;
	--socket | --file | --output) _xfrmctl_files "$before" ;;
	--routes) _xfrmctl_offer "${before}220" ;;
	--grace) _xfrmctl_offer "$before"{0,30s,5min,infinity} ;;
	--timeout) _xfrmctl_offer "$before"{5s,30s,2min,infinity} ;;
	--interval) _xfrmctl_offer "$before"{1s,5s,30s} ;;
	--deadline) _xfrmctl_offer "$before"{5s,10s,30s} ;;
	--limit) _xfrmctl_offer "$before"{1min,5min,infinity} ;;
	--misses) _xfrmctl_offer "$before"{2,3,5} ;;
	--on-missing) _xfrmctl_offer "$before"{report,block,restart} ;;
	esac
}

# Words behind `wait --exec --`; $1 is the first of them.
_xfrmctl_command()
{
	local function

	for function in _comp_command_offset _command_offset; do
		if declare -F "$function" >/dev/null; then
			"$function" "${first[$1]}"
			return
		fi
	done
	if ((${#words[@]} == $1 + 1)); then
		mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u)
	else
		_xfrmctl_files ''
	fi
}

_xfrmctl_complete()
{
	local step='' used=' ' exec='' option word i
	local last=$((${#words[@]} - 1))

	# A redirection.
	if ((last > 1)) && [[ ${words[last-1]} == *['<>'] ]]; then
		_xfrmctl_files ''
		return
	fi
	for ((i = 1; i < last; i++)); do
		word=${words[i]}
		case $word in
		--)
			[[ ! $exec ]] || _xfrmctl_command $((i + 1))
			return
			;;
		--*)
			option=${word%%=*}
			used+="$option "
			[[ $option != --exec ]] || exec=1
			# A value in a word of its own, which the options in --help with a value that can be left out do not take.
			if [[ $word != *=* ]] && _xfrmctl_takes "$option=" && ! _xfrmctl_takes "$option"; then
				if ((++i == last)); then
					_xfrmctl_value "$option" ''
					return
				fi
				word+="=${words[i]}"
			fi
			[[ $option != --netns ]] || netns=${word#*=}
			;;
		-*) ;;
		*)
			[[ ! $verb ]] || step=$word
			[[ $verb ]] || verb=$word help=''
			;;
		esac
	done

	if [[ $current == --*=* ]]; then
		_xfrmctl_takes "${current%%=*}=" && _xfrmctl_value "${current%%=*}" "${current%%=*}="
	else
		_xfrmctl_read_help
		# A verb, or a step, before all options.
		for word in $help; do
			[[ $step || $word == -* ]] || _xfrmctl_offer "$word"
		done
		if ((${#COMPREPLY[@]} == 0)); then
			for option in $help; do
				case $option in
				--match= | --exclude=) _xfrmctl_offer "$option" ;;
				-*) [[ $used == *" ${option%=} "* ]] || _xfrmctl_offer "$option" ;;
				esac
			done
		fi
	fi
	# More is to come behind these.
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[=/@] ]] || compopt -o nospace
}

_xfrmctl()
{
	local IFS=$' \t\n' program=$1 verb='' help='' netns='' current kept
	local -a words first
	local -A seen=()

	COMPREPLY=()
	_xfrmctl_split
	_xfrmctl_unquote "${words[-1]}"
	_xfrmctl_complete 2>/dev/null
} && complete -o nosort -F _xfrmctl xfrmctl
