# Rounds (case, name, transactions/s, CPU µs each, failed) and idle memory (case, name, bytes each, MiB, "idle") to medians,
# extremes and ratios: a table for people on stdout, tab-separated lines in the file `results`.

function median(key, field,   i, j, t, n, list) {
  n = count[key]
  for (i = 1; i <= n; i++) list[i] = value[key, i, field] + 0
  for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
  low = list[1]; high = list[n]
  return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function ratio(a, b) { return b ? sprintf("%.2f", a / b) : "-" }

{
  key = $1 " " $2
  if (!(key in count)) keys[++k] = key
  i = ++count[key]
  value[key, i, 3] = $3; value[key, i, 4] = $4
  if ($5 == "idle") idle[key] = 1; else failed[key] += $5
}
END {
  print "case\tname\ttps\ttps_min\ttps_max\tcpu_us\tfailed_rounds\ttps_vs_pgbouncer\tcpu_vs_pgbouncer\ttps_vs_direct" >results
  printf "%-15s %-10s %26s %12s %8s %22s\n", "case", "", "transactions/s (min-max)", "CPU µs each", "failed", "vs PgBouncer; direct"
  for (i = 1; i <= k; i++) {
    key = keys[i]; split(key, part, " ")
    first = median(key, 3); low_first = low; high_first = high; second = median(key, 4)
    if (part[1] != before) { base_first = base_second = direct = 0; before = part[1] }
    if (part[2] == "direct") direct = first
    if (part[2] == "pgbouncer" || part[2] == "session") { base_first = first; base_second = second }
    own = part[2] == "banyan"
    if (key in idle) {
      printf "%-15s %-10s %26s %12s %8s %22s\n", part[1], part[2], first " bytes each", second " MiB", "", own ? ratio(first, base_first) : ""
      printf "%s\t%s\t%s\t\t\t%s\t\t\t%s\t\n", part[1], part[2], first, second, own ? ratio(first, base_first) : "" >results
      continue
    }
    printf "%-15s %-10s %26s %12s %8d %22s\n", part[1], part[2], sprintf("%.0f (%.0f-%.0f)", first, low_first, high_first), \
      part[2] == "direct" ? "-" : sprintf("%.1f", second), failed[key], own ? ratio(first, base_first) ", " ratio(second, base_second) "; " ratio(first, direct) : ""
    printf "%s\t%s\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%s\t%s\t%s\n", part[1], part[2], first, low_first, high_first, second, failed[key], \
      own ? ratio(first, base_first) : "", own ? ratio(second, base_second) : "", own ? ratio(first, direct) : "" >results
  }
  print "vs PgBouncer: transactions/s, CPU per transaction"
}
