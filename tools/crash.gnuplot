# SPDX-License-Identifier: GPL-2.0-or-later
# Draws packets per 100 ms over a crash of charon. tools/demo sets the variables data (a CSV file) and picture (the
# output). For each variant it also sets NAME_says (a caption) and NAME_back (seconds until the tunnel is back; NaN if
# it is not).

set terminal svg size 900,700 dynamic enhanced font "Arial,14" background rgb "white"
set output picture
set datafile separator ","

# Colours of Okabe and Ito, which can be distinguished with any kind of colour vision.
protected = "#0072b2"
unanswered = "#9fd0ee"
plaintext = "#d55e00"
held_back = "#c4c4c4"
ink = "#222222"
faint = "#888888"
# gnuplot 5.4 starts a new dash pattern only with a new colour, so this one differs slightly from ink.
dashed_ink = "#000000"

left = 0.062
right = 0.985
rows = 4
panel_height = 0.127
panel_step = 0.21

set style fill solid 1 noborder
set boxwidth 0.086
set border 0
unset xtics
last = 12
set xrange [-2:last]
set yrange [0:6]
set lmargin at screen left
set rmargin at screen right
set key off

set multiplot

# The legend, drawn from single objects so that it fits in one row.
entry_y = 0.971
array entry_x[6] = [left, 0.257, 0.476, 0.61, 0.732, 0.82]
array entry[6] = ["protected, answered", "protected, unanswered", "in plaintext", "held back", \
	"crash", "tunnel is back"]
array entry_colour[4] = [protected, unanswered, plaintext, held_back]
do for [i = 1:6] {
	if (i <= 4) {
		set object 10 + i rectangle from screen entry_x[i], screen entry_y - 0.01 \
			to screen entry_x[i] + 0.016, screen entry_y + 0.01 fillcolor rgb entry_colour[i] fillstyle solid 1 noborder
	}
	set label 20 + i entry[i] at screen entry_x[i] + 0.022, screen entry_y left textcolor rgb ink
}
array mark_x[2] = [entry_x[5] + 0.014, entry_x[6] + 0.014]
set arrow 21 from screen mark_x[1], screen entry_y - 0.016 to screen mark_x[1], screen entry_y + 0.016 \
	nohead linecolor rgb ink linewidth 1.5
set arrow 22 from screen mark_x[2], screen entry_y - 0.016 to screen mark_x[2], screen entry_y + 0.016 \
	nohead linecolor rgb dashed_ink linewidth 1.5 dashtype (4, 3)

set label 10 "packets per 100 ms" at screen 0.014, screen 0.47 center rotate by 90 textcolor rgb ink
set ytics (0, 5) nomirror scale 0 textcolor rgb ink
array name[rows] = ["stock", "flush", "installed", "hold"]
array title[rows] = ["strongSwan alone", "with ip xfrm flush in ExecStartPre", "with xfrmctl as installed", \
	"with xfrmctl, mode hold"]
array says[rows] = [stock_says, flush_says, installed_says, hold_says]
array back[rows] = [stock_back, flush_back, installed_back, hold_back]

do for [row = 1:rows] {
	bottom = 0.082 + (rows - row) * panel_step
	set bmargin at screen bottom
	set tmargin at screen bottom + panel_height
	if (row == rows) {
		set xtics 1 nomirror scale 0 textcolor rgb ink
		set label 11 "seconds after the crash" at screen (left + right) / 2, screen 0.018 center textcolor rgb ink
	}
	set label 1 "{/:Bold ".title[row]."}" at graph 0, graph 1.2 left textcolor rgb ink
	set label 2 says[row] at graph 1, graph 1.2 right textcolor rgb ink
	set arrow 1 from 0, graph 0 to 0, graph 1.06 nohead front linecolor rgb ink linewidth 1.5
	set arrow 3 from graph 0, first 0 to graph 1, first 0 nohead front linecolor rgb faint linewidth 0.8
	unset arrow 2
	unset label 3
	if (back[row] <= last) {	# false for NaN
		set arrow 2 from back[row], graph 0 to back[row], graph 1.06 nohead \
			front linecolor rgb dashed_ink linewidth 1.5 dashtype (4, 3)
	}
	of(what) = strcol("variant") eq name[row] ? what : NaN
	middle(dummy) = of(column("seconds") + 0.05)
	# Columns 4 to 7 are the fates, stacked in this order from the bottom up.
	upto(n) = of(sum [i = 4:3 + n] column(i))
	plot data using (middle(0)):(upto(4)) with boxes linecolor rgb held_back, \
	     data using (middle(0)):(upto(3)) with boxes linecolor rgb plaintext, \
	     data using (middle(0)):(upto(2)) with boxes linecolor rgb unanswered, \
	     data using (middle(0)):(upto(1)) with boxes linecolor rgb protected
	# The legend and the label of the axis are drawn only once, with the first panel.
	unset label 10
	do for [i = 1:6] {
		unset label 20 + i
		unset object 10 + i
	}
	unset arrow 21
	unset arrow 22
}
unset multiplot
