"""The canary verdict: worse than stable by more than the margin, by less, or not known yet.

`betting` turns request counts into `evidence` that stays valid however often it is looked at, `state` keeps
it across restarts, `estimate` says what a person wants to see beside it, `verdict` decides.
"""
