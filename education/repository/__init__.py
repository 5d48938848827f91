"""Every SQL statement of the service, by what it is about.

intake     imports as received, their bytes, faults, receipts, proposals
tables     what the roster's tables are made of; the statements below are built from it
staging    a push in temporary tables: copied in, checked as a set, refused rows taken out
roster     the difference between staged and kept: planned, applied, and what has vanished
people     which accounts are learners, and who they are
episodes   enrolment episodes out of roles, grades and organisations
record     what a learner, a guardian or a sender may read
"""
