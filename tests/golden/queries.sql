-- Queries that must give the same rows on a cluster, on the embedded pool and from plain DataFusion.
-- `== name` starts one; its PREDICT text comes first, then `--` and the same question over `scored`, a plain table of the
-- same rows with the columns fare_p, tree_p and mixed_p. `== name ordered` keeps the order of rows.
== select_list ordered
SELECT trip_id, PREDICT('fare', *) AS p FROM trips ORDER BY trip_id LIMIT 50
--
SELECT trip_id, fare_p FROM scored ORDER BY trip_id LIMIT 50
== named_columns ordered
SELECT trip_id, predict('fare', vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type) AS p
FROM trips ORDER BY trip_id DESC LIMIT 20
--
SELECT trip_id, fare_p FROM scored ORDER BY trip_id DESC LIMIT 20
== qualified_star ordered
SELECT t.trip_id, PREDICT('fare', t.*) AS p FROM trips t ORDER BY t.trip_id LIMIT 10
--
SELECT trip_id, fare_p FROM scored ORDER BY trip_id LIMIT 10
== two_models ordered
SELECT trip_id, PREDICT('fare', *) AS a, PREDICT('tree', *) AS b FROM trips ORDER BY trip_id LIMIT 30
--
SELECT trip_id, fare_p, tree_p FROM scored ORDER BY trip_id LIMIT 30
== several_calls ordered
SELECT trip_id, PREDICT('fare', *) AS a, PREDICT('fare', *) * 2 AS b, PREDICT('fare', *) > 20 AS c FROM trips ORDER BY trip_id LIMIT 30
--
SELECT trip_id, fare_p, fare_p * 2, fare_p > 20 FROM scored ORDER BY trip_id LIMIT 30
== mixed_inputs ordered
SELECT trip_id, PREDICT('mixed', *) AS p FROM trips ORDER BY trip_id LIMIT 30
--
SELECT trip_id, mixed_p FROM scored ORDER BY trip_id LIMIT 30
== arithmetic
SELECT trip_id, round(PREDICT('fare', *) + trip_distance, 2) AS p FROM trips WHERE trip_id < 40
--
SELECT trip_id, round(fare_p + trip_distance, 2) FROM scored WHERE trip_id < 40
== cast_to_int
SELECT trip_id, CAST(PREDICT('tree', *) AS BIGINT) AS p FROM trips WHERE trip_id < 40
--
SELECT trip_id, CAST(tree_p AS BIGINT) FROM scored WHERE trip_id < 40
== case_guard
SELECT trip_id, CASE WHEN payment_type = 1 THEN PREDICT('fare', *) ELSE -1.0 END AS p FROM trips WHERE trip_id < 100
--
SELECT trip_id, CASE WHEN payment_type = 1 THEN fare_p ELSE -1.0 END FROM scored WHERE trip_id < 100
== case_two_branches
SELECT trip_id, CASE WHEN vendor_id = 1 THEN PREDICT('fare', *) WHEN trip_distance > 5 THEN PREDICT('tree', *) END AS p FROM trips WHERE trip_id < 100
--
SELECT trip_id, CASE WHEN vendor_id = 1 THEN fare_p WHEN trip_distance > 5 THEN tree_p END FROM scored WHERE trip_id < 100
== and_guard
SELECT trip_id FROM trips WHERE vendor_id = 1 AND PREDICT('fare', *) > 25 AND trip_id < 500
--
SELECT trip_id FROM scored WHERE vendor_id = 1 AND fare_p > 25 AND trip_id < 500
== or_guard
SELECT trip_id FROM trips WHERE (vendor_id = 1 OR PREDICT('fare', *) > 25) AND trip_id < 300
--
SELECT trip_id FROM scored WHERE (vendor_id = 1 OR fare_p > 25) AND trip_id < 300
== coalesce_guard
SELECT trip_id, COALESCE(tip, PREDICT('fare', *)) AS v FROM trips WHERE trip_id < 200
--
SELECT trip_id, COALESCE(tip, fare_p) FROM scored WHERE trip_id < 200
== where_only
SELECT count(*) AS n, sum(trip_id) AS ids FROM trips WHERE PREDICT('tree', *) > 20
--
SELECT count(*), sum(trip_id) FROM scored WHERE tree_p > 20
== between
SELECT count(*) AS n FROM trips WHERE PREDICT('fare', *) BETWEEN 10 AND 30
--
SELECT count(*) FROM scored WHERE fare_p BETWEEN 10 AND 30
== aggregates
SELECT count(PREDICT('fare', *)) AS n, avg(PREDICT('fare', *)) AS mean, min(PREDICT('fare', *)) AS low, max(PREDICT('fare', *)) AS high FROM trips
--
SELECT count(fare_p), avg(fare_p), min(fare_p), max(fare_p) FROM scored
== group_by_column
SELECT borough, count(*) AS n, avg(PREDICT('fare', *)) AS mean FROM trips GROUP BY borough
--
SELECT borough, count(*), avg(fare_p) FROM scored GROUP BY borough
== group_by_prediction
SELECT CAST(PREDICT('fare', *) / 10 AS BIGINT) AS bucket, count(*) AS n FROM trips GROUP BY CAST(PREDICT('fare', *) / 10 AS BIGINT)
--
SELECT CAST(fare_p / 10 AS BIGINT), count(*) FROM scored GROUP BY CAST(fare_p / 10 AS BIGINT)
== group_by_ordinal
SELECT CAST(PREDICT('tree', *) / 5 AS BIGINT) AS bucket, sum(trip_id) AS n FROM trips GROUP BY 1
--
SELECT CAST(tree_p / 5 AS BIGINT), sum(trip_id) FROM scored GROUP BY 1
== having
SELECT borough, pickup_hour, avg(PREDICT('fare', *)) AS mean FROM trips GROUP BY borough, pickup_hour HAVING avg(PREDICT('fare', *)) > 26
--
SELECT borough, pickup_hour, avg(fare_p) FROM scored GROUP BY borough, pickup_hour HAVING avg(fare_p) > 26
== having_hidden
SELECT borough FROM trips GROUP BY borough HAVING max(PREDICT('tree', *)) > 10
--
SELECT borough FROM scored GROUP BY borough HAVING max(tree_p) > 10
== filtered_aggregate
SELECT borough, count(*) FILTER (WHERE PREDICT('fare', *) > 20) AS n FROM trips GROUP BY borough
--
SELECT borough, count(*) FILTER (WHERE fare_p > 20) FROM scored GROUP BY borough
== distinct
SELECT DISTINCT CAST(PREDICT('fare', *) / 20 AS BIGINT) AS bucket FROM trips
--
SELECT DISTINCT CAST(fare_p / 20 AS BIGINT) FROM scored
== count_distinct
SELECT borough, count(DISTINCT CAST(PREDICT('fare', *) AS BIGINT)) AS n FROM trips GROUP BY borough
--
SELECT borough, count(DISTINCT CAST(fare_p AS BIGINT)) FROM scored GROUP BY borough
== order_by_alias ordered
SELECT trip_id, PREDICT('tree', *) AS p FROM trips WHERE trip_id < 300 ORDER BY p DESC, trip_id LIMIT 15
--
SELECT trip_id, tree_p FROM scored WHERE trip_id < 300 ORDER BY tree_p DESC, trip_id LIMIT 15
== order_by_call ordered
SELECT trip_id FROM trips WHERE trip_id < 300 ORDER BY PREDICT('tree', *) DESC, trip_id LIMIT 15
--
SELECT trip_id FROM scored WHERE trip_id < 300 ORDER BY tree_p DESC, trip_id LIMIT 15
== window_rank ordered
SELECT trip_id, row_number() OVER (PARTITION BY borough ORDER BY PREDICT('tree', *) DESC, trip_id) AS r FROM trips WHERE trip_id < 200 ORDER BY trip_id
--
SELECT trip_id, row_number() OVER (PARTITION BY borough ORDER BY tree_p DESC, trip_id) FROM scored WHERE trip_id < 200 ORDER BY trip_id
== window_sum ordered
SELECT trip_id, sum(PREDICT('fare', *)) OVER (PARTITION BY borough ORDER BY trip_id) AS s FROM trips WHERE trip_id < 200 ORDER BY trip_id
--
SELECT trip_id, sum(fare_p) OVER (PARTITION BY borough ORDER BY trip_id) FROM scored WHERE trip_id < 200 ORDER BY trip_id
== cte
WITH s AS (SELECT trip_id, borough, PREDICT('fare', *) AS p FROM trips) SELECT borough, max(p) AS m FROM s WHERE p > 5 GROUP BY borough
--
SELECT borough, max(fare_p) FROM scored WHERE fare_p > 5 GROUP BY borough
== cte_twice
WITH s AS (SELECT trip_id, borough, PREDICT('fare', *) AS p FROM trips WHERE trip_id < 400) SELECT a.trip_id FROM s a JOIN (SELECT borough, avg(p) AS m FROM s GROUP BY borough) b ON a.borough = b.borough WHERE a.p > b.m * 1.5
--
SELECT a.trip_id FROM scored a JOIN (SELECT borough, avg(fare_p) AS m FROM scored WHERE trip_id < 400 GROUP BY borough) b ON a.borough = b.borough WHERE a.trip_id < 400 AND a.fare_p > b.m * 1.5
== subquery_in_from
SELECT max(p) AS m FROM (SELECT PREDICT('fare', *) AS p FROM trips WHERE pickup_hour = 3) x
--
SELECT max(fare_p) FROM scored WHERE pickup_hour = 3
== filter_over_subquery
SELECT trip_id, p FROM (SELECT trip_id, PREDICT('tree', *) AS p FROM trips) x WHERE p > 30 AND trip_id < 1000
--
SELECT trip_id, tree_p FROM scored WHERE tree_p > 30 AND trip_id < 1000
== scalar_subquery
SELECT count(*) AS n FROM trips WHERE trip_distance > (SELECT avg(PREDICT('fare', *)) FROM trips) / 2
--
SELECT count(*) FROM scored WHERE trip_distance > (SELECT avg(fare_p) FROM scored) / 2
== in_subquery
SELECT count(*) AS n FROM trips WHERE borough IN (SELECT borough FROM trips WHERE PREDICT('fare', *) > 58)
--
SELECT count(*) FROM scored WHERE borough IN (SELECT borough FROM scored WHERE fare_p > 58)
== exists_correlated
SELECT z.borough FROM zones z WHERE EXISTS (SELECT 1 FROM trips t WHERE t.borough = z.borough AND PREDICT('fare', t.*) > 20)
--
SELECT z.borough FROM zones z WHERE EXISTS (SELECT 1 FROM scored t WHERE t.borough = z.borough AND t.fare_p > 20)
== correlated_scalar
SELECT z.borough, (SELECT max(PREDICT('fare', t.*)) FROM trips t WHERE t.borough = z.borough) AS m FROM zones z
--
SELECT z.borough, (SELECT max(t.fare_p) FROM scored t WHERE t.borough = z.borough) FROM zones z
== join
SELECT t.trip_id, PREDICT('fare', t.*) * z.rate AS p FROM trips t JOIN zones z ON t.borough = z.borough WHERE t.trip_id < 200
--
SELECT t.trip_id, t.fare_p * z.rate FROM scored t JOIN zones z ON t.borough = z.borough WHERE t.trip_id < 200
== left_join
SELECT t.trip_id, z.rate, PREDICT('tree', t.*) AS p FROM trips t LEFT JOIN zones z ON t.borough = z.borough WHERE t.trip_id < 200
--
SELECT t.trip_id, z.rate, t.tree_p FROM scored t LEFT JOIN zones z ON t.borough = z.borough WHERE t.trip_id < 200
== join_on_prediction
SELECT t.trip_id, z.borough FROM trips t JOIN zones z ON t.borough = z.borough AND PREDICT('fare', t.*) > 20 * z.rate WHERE t.trip_id < 400
--
SELECT t.trip_id, z.borough FROM scored t JOIN zones z ON t.borough = z.borough AND t.fare_p > 20 * z.rate WHERE t.trip_id < 400
== self_join
SELECT a.trip_id, PREDICT('fare', a.*) - PREDICT('fare', b.*) AS d FROM trips a JOIN trips b ON a.trip_id = b.trip_id + 1 WHERE a.trip_id < 100
--
SELECT a.trip_id, a.fare_p - b.fare_p FROM scored a JOIN scored b ON a.trip_id = b.trip_id + 1 WHERE a.trip_id < 100
== union_all
SELECT trip_id, PREDICT('fare', *) AS p FROM trips WHERE trip_id < 20 UNION ALL SELECT trip_id, PREDICT('tree', *) FROM trips WHERE trip_id BETWEEN 100 AND 120
--
SELECT trip_id, fare_p FROM scored WHERE trip_id < 20 UNION ALL SELECT trip_id, tree_p FROM scored WHERE trip_id BETWEEN 100 AND 120
== union_distinct
SELECT CAST(PREDICT('fare', *) AS BIGINT) / 10 AS b FROM trips UNION SELECT CAST(PREDICT('tree', *) AS BIGINT) / 10 FROM trips
--
SELECT CAST(fare_p AS BIGINT) / 10 FROM scored UNION SELECT CAST(tree_p AS BIGINT) / 10 FROM scored
== csv
SELECT count(*) AS n, avg(PREDICT('fare', *)) AS mean, sum(PREDICT('tree', *)) AS total FROM trips_csv
--
SELECT count(*), avg(fare_p), sum(tree_p) FROM scored WHERE trip_id < 4000
== empty
SELECT trip_id, PREDICT('fare', *) AS p FROM empty
--
SELECT trip_id, fare_p FROM scored WHERE trip_id < 0
== prediction_of_prediction
SELECT trip_id, PREDICT('fare', vendor_id, passenger_count, PREDICT('tree', *), pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type) IS NOT NULL AS p FROM trips WHERE trip_id < 50
--
SELECT trip_id, tree_p IS NOT NULL FROM scored WHERE trip_id < 50
== null_input ordered
SELECT trip_id, PREDICT('tree', vendor_id, passenger_count, CAST(NULL AS DOUBLE), pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type) IS NULL AS p FROM trips ORDER BY trip_id LIMIT 5
--
SELECT trip_id, false FROM scored ORDER BY trip_id LIMIT 5
== view ordered
SELECT trip_id, p FROM scored_view WHERE trip_id < 25 ORDER BY trip_id
--
SELECT trip_id, fare_p FROM scored WHERE trip_id < 25 ORDER BY trip_id
== limit_offset ordered
SELECT trip_id, PREDICT('fare', *) AS p FROM trips ORDER BY trip_id LIMIT 5 OFFSET 1000
--
SELECT trip_id, fare_p FROM scored ORDER BY trip_id LIMIT 5 OFFSET 1000
== except
SELECT trip_id FROM trips WHERE trip_id < 200 EXCEPT SELECT trip_id FROM trips WHERE PREDICT('fare', *) > 15
--
SELECT trip_id FROM scored WHERE trip_id < 200 EXCEPT SELECT trip_id FROM scored WHERE fare_p > 15
