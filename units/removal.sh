# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Functions for the removal of xfrmctl or of a drop-in. The maintainer scripts of the packages include this file, and
# tools/uninstall reads it. `xfrmctl` is the program, or a function that runs it.

figures=/var/lib/prometheus/node-exporter/xfrmctl.prom

# Prints UNIT|NETNS|DROP-INS for each loaded service that has commands of xfrmctl. systemd has loaded each service that
# runs, has failed, or waits for its restart. All other services are stopped, and block nothing. NETNS is empty for the
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

# has_drop_in_of "DROP-INS" SERVICE...: succeeds if one of these files, or the target of its link, is the drop-in of a
# service.
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

# Prints $XFRMCTL_ROUTES of the settings, as systemd would read it.
routes() {
	found=$(sed -n "s/^XFRMCTL_ROUTES=[\"']\{0,1\}\([^\"']*\)[\"']\{0,1\}\$/=\1/p" /etc/default/xfrmctl 2>/dev/null | tail -n 1)
	case $found in
	=*) echo "${found#=}" ;;
	*) echo --routes ;;
	esac
}

# free_namespace NETNS: completes a handover in this network namespace, and then releases all blocked traffic. Also
# releases that of connections that fall back to hold.
free_namespace() {
	xfrmctl ${1:+--netns="$1"} handover || :
	# shellcheck disable=SC2046 # options, or none
	xfrmctl ${1:+--netns="$1"} release $(routes) || :
}

# let_go [SERVICE...]: stops the helper units of these services, and of services that use their drop-ins. It releases
# the traffic that they blocked, because no command would release it later. Without SERVICE, it does so for all services
# that use xfrmctl. Tunnels stay. xfrmctl-stop@ stays active, because its stop would remove the state of the service.
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
		# Releases traffic that an operator has blocked by hand, too.
		free_namespace ''
	fi
}

# disable_units ROOT [SERVICE...]: removes the links of `systemctl enable` for these services, or for all.
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

# Stops xfrmctl-stop@ after the files of the units are removed. systemd then knows no ExecStop= of xfrmctl-stop@, which
# would treat this as a stop of the service.
forget_units() {
	systemctl daemon-reload || :
	systemctl stop 'xfrmctl-stop@*.service' || :
	systemctl reset-failed 'xfrmctl-*' || :
}
