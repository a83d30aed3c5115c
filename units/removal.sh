# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What is to be done before and after the files of xfrmctl, or of a drop-in, go: part of the packages' maintainer scripts,
# and of tools/uninstall. xfrmctl is the program, or a function that runs it.

figures=/var/lib/prometheus/node-exporter/xfrmctl.prom

# Prints UNIT|NETNS|DROP-INS for each service with commands of xfrmctl, of those that systemd has in its memory. So it has
# each that runs, has failed, or waits for its restart; a stop frees what the service has blocked. NETNS is empty for the
# machine's own network namespace.
services_of_xfrmctl() {
	systemctl show --property=Id,MainPID,DropInPaths,NetworkNamespacePath,PrivateNetwork,ExecStartPre,ExecStopPost \
		'*.service' | awk '
		BEGIN { RS = ""; FS = "\n" }
		{
			split("", value)
			uses = 0
			for (i = 1; i <= NF; i++) {
				name = $i
				sub(/=.*/, "", name)
				value[name] = substr($i, length(name) + 2)
				uses = uses || (name ~ /^Exec/ && value[name] ~ /\/xfrmctl /)
			}
			netns = value["NetworkNamespacePath"]
			if (netns == "" && value["PrivateNetwork"] == "yes" && value["MainPID"] > 0)
				netns = "/proc/" value["MainPID"] "/ns/net"
			if (uses && value["Id"] !~ /^xfrmctl-/)
				print value["Id"] "|" netns "|" value["DropInPaths"]
		}'
}

# has_drop_in_of "DROP-INS" SERVICE...: whether one of these files, or what it is a link to, is the drop-in of a service.
has_drop_in_of() {
	for file in $1; do
		for service; do
			case $(readlink -f "$file") in
			*/"$service.service.d/"*-xfrmctl.conf) return 0 ;;
			esac
		done
	done
	return 1
}

# $XFRMCTL_ROUTES of the settings, as systemd would read it.
routes() {
	found=$(sed -n "s/^XFRMCTL_ROUTES=[\"']\{0,1\}\([^\"']*\)[\"']\{0,1\}\$/=\1/p" /etc/default/xfrmctl 2>/dev/null | tail -n 1)
	case $found in
	=*) echo "${found#=}" ;;
	*) echo --routes ;;
	esac
}

# Moves what was kept for a new daemon to it now, or holds it, and then releases everything in this network namespace.
free_namespace() {
	xfrmctl ${1:+--netns="$1"} handover || :
	# shellcheck disable=SC2046 # options, or none
	xfrmctl ${1:+--netns="$1"} release $(routes) || :
}

# let_go [SERVICE...]: ends the helpers of these services, and of those that use their drop-ins, and opens what they have
# blocked: nobody would any more. Without any, those of all that use xfrmctl. Tunnels stay. xfrmctl-stop@ goes on: its stop
# is that of the service.
let_go() {
	services_of_xfrmctl | while IFS='|' read -r unit netns drop_ins; do
		[ $# -eq 0 ] || has_drop_in_of "$drop_ins" "$@" || continue
		name=${unit%.service}
		systemctl stop "xfrmctl-save@$name.*" "xfrmctl-boot@$name.*" "xfrmctl-watch@$name.*" \
			"xfrmctl-starter@$name.*" "xfrmctl-handover@$name.*" "xfrmctl-load@$name.*" || :
		free_namespace "$netns"
	done
	if [ $# -eq 0 ]; then
		systemctl stop 'xfrmctl-metrics.*' 'xfrmctl-save@*' 'xfrmctl-boot@*' 'xfrmctl-watch@*' 'xfrmctl-starter@*' \
			'xfrmctl-handover@*' 'xfrmctl-load@*' || :
		rm -f "$figures"
		# What was blocked by hand.
		free_namespace ''
	fi
}

# disable_units ROOT [SERVICE...]: removes what `systemctl enable` has made for these services, or everything.
disable_units() {
	wants=$1/etc/systemd/system
	shift
	for link in "$wants"/*.wants/xfrmctl-*; do
		if [ $# -eq 0 ]; then
			rm -f "$link"
		fi
		for service; do
			case ${link##*/} in
			xfrmctl-*@"$service".*) rm -f "$link" ;;
			esac
		done
		rmdir --ignore-fail-on-non-empty "${link%/*}" 2>/dev/null || :
	done
}

# When the units' files have gone: xfrmctl-stop@ has no command any more that would take this for a stop of its service.
forget_units() {
	systemctl daemon-reload || :
	systemctl stop 'xfrmctl-stop@*.service' || :
	systemctl reset-failed 'xfrmctl-*' || :
}
