"""Topic Subscriptions (Subscriptions R5 Backport 1.1 for R4): who is told of which changes.

`asked` reads a Subscription, `kept` notes it with the push that it comes with, `telling` holds what pushes
keep against all of them after the commit and tells what matches, `bundles` has the form of what is told.
"""
