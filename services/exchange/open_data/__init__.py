"""Open data (公共数据开放) and exports for research: what leaves the suite about nobody in particular.

generalising    values made coarser, by a closed set of ways
products        which tables are published, from which dataset, as data (knowledge/open_data.json)
cells           counting, and withholding what is too small to be shown
anonymity       how many people share all that is told of each
files           CSV and Parquet, and the check of the files themselves before they are published
source          the rows, as their provider offers them to the exchange
releases        versions of a table: ordered, made, checked, published or withheld
exports         applications for rows under pseudonyms, decided by people, made and sealed
"""
